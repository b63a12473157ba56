package server

import (
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/covetpy/covet/server/config"
)

var long = strings.Repeat("all work and no play makes jack a dull boy\n", 100)

// answers serves one handler with everything that encodes its answers, and asks it.
func answers(t *testing.T, h http.HandlerFunc) func(method string, header ...string) (*http.Response, string) {
	t.Helper()
	known := newPacked()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { encoded(w, r, known, h) }))
	t.Cleanup(s.Close)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(client.CloseIdleConnections)
	return func(method string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(method, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
}

func gunzip(t *testing.T, s string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnswersAreCompressedAndTagged(t *testing.T) {
	t.Parallel()
	ask := answers(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) })
	zipped, body := ask(http.MethodGet, "Accept-Encoding", "br, gzip")
	if zipped.Header.Get("Content-Encoding") != "gzip" || gunzip(t, body) != long || zipped.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("compressed: %v", zipped.Header)
	}
	flat, body := ask(http.MethodGet, "Accept-Encoding", "gzip;q=0, *;q=0")
	if flat.Header.Get("Content-Encoding") != "" || body != long || flat.Header.Get("Content-Length") != strconv.Itoa(len(long)) {
		t.Errorf("not compressed: %v", flat.Header)
	}
	tag, zippedTag := flat.Header.Get("Etag"), zipped.Header.Get("Etag")
	if tag == "" || zippedTag == "" || tag == zippedTag || flat.Header.Get("Vary") != "Accept-Encoding" || zipped.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("tags %q and %q, Vary %q", tag, zippedTag, flat.Header.Get("Vary"))
	}
	for header, encoding := range map[string]string{tag: "identity", zippedTag: "gzip", `"x", W/` + tag: "identity", "*": "identity"} {
		resp, body := ask(http.MethodGet, "If-None-Match", header, "Accept-Encoding", encoding)
		if resp.StatusCode != http.StatusNotModified || body != "" || resp.Header.Get("Etag") == "" {
			t.Errorf("If-None-Match %s: %s, %d bytes", header, resp.Status, len(body))
		}
	}
	if resp, _ := ask(http.MethodGet, "If-None-Match", `"other"`); resp.StatusCode != http.StatusOK {
		t.Errorf("another tag: %s", resp.Status)
	}
	if resp, body := ask(http.MethodHead, "Accept-Encoding", "gzip"); resp.StatusCode != http.StatusOK || body != "" || resp.Header.Get("Etag") != zippedTag {
		t.Errorf("HEAD: %s, %v", resp.Status, resp.Header)
	}
}

func TestWhatIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"short": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "short") },
		"a picture": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, long)
		},
		"encoded already": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			_, _ = io.WriteString(w, long)
		},
		"no-transform": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-transform")
			_, _ = io.WriteString(w, long)
		},
		"events": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, long)
		},
		"a range": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader(long))
		},
	} {
		t.Run(name, func(t *testing.T) {
			ask := answers(t, h)
			resp, body := ask(http.MethodGet, "Accept-Encoding", "gzip", "Range", "bytes=0-4")
			if resp.Header.Get("Content-Encoding") == "gzip" || !strings.HasPrefix(long, body) && body != "short" {
				t.Errorf("%v, %d bytes", resp.Header, len(body))
			}
		})
	}
}

func TestStreamsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		encoded(w, r, newPacked(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				_, _ = io.WriteString(w, long)
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				<-next
			}
		}))
	}))
	defer s.Close()
	resp, err := s.Client().Get(s.URL) // the client asks for gzip and undoes it
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if !resp.Uncompressed {
		t.Error("the stream is not compressed")
	}
	buf := make([]byte, len(long))
	for range 3 {
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != long {
			t.Fatalf("a flushed part did not arrive: %v", err)
		}
		next <- struct{}{}
	}
}

func TestLongAnswersGoOutAsTheyCome(t *testing.T) {
	t.Parallel()
	ask := answers(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 200 {
			_, _ = io.WriteString(w, long)
		}
	})
	resp, body := ask(http.MethodGet, "Accept-Encoding", "gzip")
	if gunzip(t, body) != strings.Repeat(long, 200) || resp.Header.Get("Etag") != "" {
		t.Errorf("%v", resp.Header)
	}
	if _, body := ask(http.MethodGet); body != strings.Repeat(long, 200) {
		t.Errorf("%d bytes", len(body))
	}
}

func FuzzAcceptsGzip(f *testing.F) {
	for _, s := range []string{"gzip", "gzip;q=0", "*;q=0.1", "br;q=1, gzip;q=x", ",;=,"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		acceptsGzip(http.Header{"Accept-Encoding": {s}})
		cacheControl(http.Header{"Cache-Control": {s}})
		matches([]string{s}, `"x"`)
		decodePage([]byte(s))
	})
}

func TestPackedIsBounded(t *testing.T) {
	t.Parallel()
	p := newPacked()
	for i := range 1000 {
		p.put(sha256.Sum256([]byte{byte(i), byte(i >> 8)}), make([]byte, 100<<10))
	}
	p.put(sha256.Sum256(nil), make([]byte, packedEach+1))
	held := 0
	for _, form := range p.known {
		held += len(form)
	}
	if held != p.size || held > packedBytes || held < packedBytes/2 || p.get(sha256.Sum256(nil)) != nil {
		t.Errorf("%d bytes are held, %d counted", held, p.size)
	}
}

// An answer that was compressed before is the same as the first time.
func TestPackedAnswersAreWhole(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{GzipEnabled: true}, func(s *Server) {
		s.Router().HandleFunc("/{word}", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(chi.URLParam(r, "word")+" ", 1000))
		})
	})
	for i := range 6 {
		word := []string{"tea", "milk"}[i%2]
		resp, body := s.do(t, http.MethodGet, "/"+word, nil, "Accept-Encoding", "gzip")
		z, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil || string(text) != strings.Repeat(word+" ", 1000) || resp.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
			t.Errorf("%d: %.20q, %v, %v", i, text, err, resp.Header)
		}
		head, none := s.do(t, http.MethodHead, "/"+word, nil, "Accept-Encoding", "gzip")
		if none != "" || head.Header.Get("Etag") != resp.Header.Get("Etag") || head.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("HEAD: %v", head.Header)
		}
	}
}
