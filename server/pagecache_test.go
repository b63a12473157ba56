package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/server/config"
)

// cached serves a handler behind the page cache, and asks it.
func cachedPages(t *testing.T, o PageOptions, h http.HandlerFunc) (s *Server, ask func(path string, header ...string) *http.Response) {
	t.Helper()
	s, err := New(config.Config{GzipEnabled: true}, WithLogOutput(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	s.Router().With(s.CachePages(o)).Get("/*", h)
	return s, func(path string, header ...string) *http.Response {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w.Result()
	}
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatASharedCacheKeeps(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	for name, c := range map[string]struct {
		ttl     time.Duration
		answer  [2]string // a header of the answer
		request [2]string // and of the request
		kept    bool
	}{
		"by our own time":                        {minute, [2]string{}, [2]string{}, true},
		"without any time":                       {0, [2]string{}, [2]string{}, false},
		"max-age":                                {0, [2]string{"Cache-Control", "max-age=60"}, [2]string{}, true},
		"max-age=0":                              {minute, [2]string{"Cache-Control", "max-age=0"}, [2]string{}, false},
		"s-maxage wins":                          {minute, [2]string{"Cache-Control", "max-age=60, s-maxage=0"}, [2]string{}, false},
		"a time nobody can read":                 {minute, [2]string{"Cache-Control", "max-age=soon"}, [2]string{}, false},
		"private":                                {minute, [2]string{"Cache-Control", "private"}, [2]string{}, false},
		"no-store":                               {minute, [2]string{"Cache-Control", "No-Store"}, [2]string{}, false},
		"no-cache":                               {minute, [2]string{"Cache-Control", "no-cache"}, [2]string{}, false},
		"Expires":                                {0, [2]string{"Expires", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}, [2]string{}, true},
		"Expires: 0":                             {minute, [2]string{"Expires", "0"}, [2]string{}, false},
		"sets a cookie":                          {minute, [2]string{"Set-Cookie", "a=b"}, [2]string{}, false},
		"varies by what is not known":            {minute, [2]string{"Vary", "User-Agent"}, [2]string{}, false},
		"varies by *":                            {minute, [2]string{"Vary", "*"}, [2]string{}, false},
		"varies by what is known":                {minute, [2]string{"Vary", "accept-language"}, [2]string{}, true},
		"to a request with Authorization":        {minute, [2]string{"Cache-Control", "public, max-age=60"}, [2]string{"Authorization", "Bearer x"}, false},
		"to a request with a cookie":             {minute, [2]string{}, [2]string{"Cookie", "session=1"}, false},
		"to a request with a cookie, but public": {minute, [2]string{"Cache-Control", "public"}, [2]string{"Cookie", "session=1"}, true},
		"to a request that wants it fresh":       {minute, [2]string{}, [2]string{"Cache-Control", "no-cache"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			_, ask := cachedPages(t, PageOptions{TTL: c.ttl, Vary: []string{"Accept-Language"}}, func(w http.ResponseWriter, _ *http.Request) {
				n++
				if c.answer[0] != "" {
					w.Header().Set(c.answer[0], c.answer[1])
				}
				_, _ = fmt.Fprint(w, n)
			})
			var header []string
			if c.request[0] != "" {
				header = c.request[:]
			}
			ask("/p", header...)
			resp := ask("/p", header...)
			if got := body(t, resp); (got == "1") != c.kept {
				t.Errorf("the second answer is %s, %s", got, resp.Header.Get("Cache-Status"))
			}
			if c.kept && (resp.Header.Get("Age") == "" || resp.Header.Get("Cache-Status") != "covet; hit") {
				t.Errorf("headers of a kept answer: %v", resp.Header)
			}
		})
	}
}

func TestKeysOfPages(t *testing.T) {
	t.Parallel()
	s, ask := cachedPages(t, PageOptions{TTL: time.Minute, Vary: []string{"Accept-Language"}, Tags: func(*http.Request) []string { return []string{"pages"} }},
		func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, r.URL.RequestURI(), " ", r.Header.Get("Accept-Language"), " ", time.Now().UnixNano())
		})
	first := body(t, ask("/p?a=1", "Accept-Language", "de"))
	if body(t, ask("/p?a=1", "Accept-Language", "de")) != first {
		t.Error("the same question is answered anew")
	}
	for _, other := range [][]string{{"/p?a=2", "de"}, {"/p?a=1", "fr"}, {"/q?a=1", "de"}} {
		if body(t, ask(other[0], "Accept-Language", other[1])) == first {
			t.Errorf("%v has the answer of another question", other)
		}
	}
	s.Cache().Invalidate(t.Context(), "pages")
	if body(t, ask("/p?a=1", "Accept-Language", "de")) == first {
		t.Error("an invalidated answer was given")
	}
}

func TestHeadIsAnsweredFromWhatGetLeft(t *testing.T) {
	t.Parallel()
	n := 0
	s, get := cachedPages(t, PageOptions{TTL: time.Minute}, func(w http.ResponseWriter, _ *http.Request) {
		n++
		_, _ = fmt.Fprint(w, "answer ", n)
	})
	s.Router().With(s.CachePages(PageOptions{TTL: time.Minute})).Head("/*", func(http.ResponseWriter, *http.Request) { n++ })
	head := func() *http.Response {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/p", nil))
		return w.Result()
	}
	head() // leaves nothing, since it has no body
	first := get("/p")
	if got := body(t, first); got != "answer 2" {
		t.Fatalf("GET after HEAD: %q", got)
	}
	if resp := head(); resp.Header.Get("Cache-Status") != "covet; hit" || resp.Header.Get("Etag") != first.Header.Get("Etag") || first.Header.Get("Etag") == "" {
		t.Errorf("HEAD: %v; GET: %v", resp.Header, first.Header)
	}
}

func TestWhatTheRequestTakes(t *testing.T) {
	t.Parallel()
	_, ask := cachedPages(t, PageOptions{TTL: time.Minute}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "p") })
	if got := ask("/p", "Cache-Control", "only-if-cached").StatusCode; got != http.StatusGatewayTimeout {
		t.Errorf("only-if-cached where nothing is: %d", got)
	}
	ask("/p")
	if got := ask("/p", "Cache-Control", "only-if-cached").Header.Get("Cache-Status"); got != "covet; hit" {
		t.Errorf("only-if-cached where something is: %q", got)
	}
	if got := ask("/p", "Cache-Control", "max-age=30").Header.Get("Cache-Status"); got != "covet; hit" {
		t.Errorf("max-age=30: %q", got)
	}
	for _, fresh := range []string{"max-age=0", "max-age=soon", "no-cache", "no-store"} {
		if got := ask("/p", "Cache-Control", fresh).Header.Get("Age"); got != "" {
			t.Errorf("%s is answered from what is kept, %s seconds old", fresh, got)
		}
	}
}

// A handler runs for all who wait; what it panics with must not end the process.
func TestAPanicBehindThePageCache(t *testing.T) {
	t.Parallel()
	_, ask := cachedPages(t, PageOptions{TTL: time.Minute}, func(_ http.ResponseWriter, r *http.Request) { panic("on " + r.URL.Path) })
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if got := ask("/p").StatusCode; got != http.StatusInternalServerError {
				t.Errorf("status %d", got)
			}
		})
	}
	all.Wait()
}

// FuzzPageCache finds request and answer headers that crash the page cache, or have it keep what is for one alone.
func FuzzPageCache(f *testing.F) {
	f.Add("max-age=60, public", "no-cache", "Accept-Language", "")
	f.Add(`private="x", s-maxage=1`, `max-age="0"`, "*", "a=b")
	f.Add("s-maxage=9223372036854775807", "only-if-cached, max-age=-1", " ,", "")
	f.Fuzz(func(t *testing.T, answer, request, vary, cookie string) {
		s, err := New(config.Config{}, WithLogOutput(io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		h := s.CachePages(PageOptions{TTL: time.Minute})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Cache-Control"], w.Header()["Vary"] = []string{answer}, []string{vary}
			if cookie != "" {
				w.Header()["Set-Cookie"] = []string{cookie}
			}
		}))
		for range 2 {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/p", nil)
			r.Header["Cache-Control"] = []string{request}
			h.ServeHTTP(w, r)
			if w.Header().Get("Cache-Status") == "covet; hit" && (cookie != "" || strings.Contains(strings.ReplaceAll(answer, " ", ""), ",no-store,")) {
				t.Errorf("kept: %q, cookie %q", answer, cookie)
			}
		}
	})
}

func TestOneRunsTheHandlerForAll(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	gate := make(chan struct{})
	_, ask := cachedPages(t, PageOptions{TTL: time.Minute}, func(w http.ResponseWriter, _ *http.Request) {
		runs.Add(1)
		<-gate
		_, _ = io.WriteString(w, "slow")
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if got := body(t, ask("/slow")); got != "slow" {
				t.Errorf("answer %q", got)
			}
		})
	}
	close(gate)
	all.Wait()
	if n := runs.Load(); n != 1 {
		t.Errorf("the handler ran %d times", n)
	}
}

// An answer that is for one alone must not reach those who asked at the same time.
func TestPrivateAnswersAreNotShared(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	began, gate := make(chan struct{}, 10), make(chan struct{})
	_, ask := cachedPages(t, PageOptions{TTL: time.Minute}, func(w http.ResponseWriter, _ *http.Request) {
		mine := n.Add(1)
		began <- struct{}{}
		<-gate
		w.Header().Set("Set-Cookie", fmt.Sprint("session=", mine))
		_, _ = fmt.Fprint(w, mine)
	})
	seen := make(chan string, 10)
	for range 10 {
		go func() { seen <- body(t, ask("/me")) }()
	}
	<-began
	close(gate)
	got := map[string]bool{}
	for range 10 {
		got[<-seen] = true
	}
	if len(got) != 10 {
		t.Errorf("10 clients got %d different answers: %v", len(got), got)
	}
}
