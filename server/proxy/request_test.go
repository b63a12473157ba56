package proxy

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// wire returns what is sent to an instance for r.
func wire(t *testing.T, o Options, r *http.Request) string {
	t.Helper()
	out, fail := New(o).prepare(r, nil)
	if fail != nil {
		t.Fatal(fail)
	}
	return string(out.wire)
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/":                    "/",
		"/a/b?c=d&e":           "/a/b?c=d&e",
		"/a%2Fb%20c":           "/a%2Fb%20c",
		"//double//slash":      "//double//slash",
		"/%zz?":                "",
		"/q?":                  "/q?",
		"/../up":               "/../up",
		"/ä":                   "/%C3%A4",
		"http://x.example/a?b": "/a?b",
		"http://x.example":     "/",
	} {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
		if err != nil {
			if want != "" {
				t.Errorf("%s: %v", target, err)
			}
			continue
		}
		if line, _, _ := strings.Cut(wire(t, Options{}, req), "\r\n"); line != "GET "+want+" HTTP/1.1" {
			t.Errorf("%s: the request line is %q", target, line)
		}
	}
	req := httptest.NewRequest(http.MethodOptions, "*", nil)
	if line, _, _ := strings.Cut(wire(t, Options{}, req), "\r\n"); line != "OPTIONS * HTTP/1.1" {
		t.Errorf("the request line is %q", line)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*http.Request){
		"CONNECT":              func(r *http.Request) { r.Method = "CONNECT" },
		"method with a space":  func(r *http.Request) { r.Method = "GET /x" },
		"line feed in a value": func(r *http.Request) { r.Header.Set("X-A", "a\r\nX-B: b") },
		"line feed in host":    func(r *http.Request) { r.Host = "a\r\nX-B: b" },
		"NUL in a value":       func(r *http.Request) { r.Header.Set("X-A", "a\x00b") },
		"relative target":      func(r *http.Request) { r.URL.Path = "x" },
		"opaque target":        func(r *http.Request) { r.URL.Opaque = "x:y" },
	} {
		b := New(Options{})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		spoil(r)
		rec := httptest.NewRecorder()
		b.ServeHTTP(rec, r)
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), `"bad_request"`) {
			t.Errorf("%s: got %d %q", name, rec.Code, rec.Body)
		}
		if b.Stats().Invalid != 1 {
			t.Errorf("%s was not counted", name)
		}
	}
}

// A worker behind CGI or WSGI cannot tell Content_Length from Content-Length.
func TestUnderscoresDoNotPassForFraming(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, name := range []string{"Transfer_Encoding", "Content_Length", "content_length", "Host", "X_Forwarded_For", "Connection_"} {
		r.Header[name] = []string{"evil"}
	}
	r.Header["X_Custom"] = []string{"kept"}
	got := wire(t, Options{}, r)
	if strings.Count(got, "evil") != 1 || !strings.Contains(got, "Connection_: evil") || !strings.Contains(got, "X_Custom: kept") {
		t.Errorf("sent:\n%s", got)
	}
}

func TestSpaceInAnHTTP2QueryIsEscaped(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL.RawQuery = "a=b HTTP/1.1\x7f"
	if line, _, _ := strings.Cut(wire(t, Options{}, r), "\r\n"); line != "GET /?a=b%20HTTP/1.1%7F HTTP/1.1" {
		t.Errorf("the request line is %q", line)
	}
}

func TestFraming(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method string
		body   io.Reader
		length int64
		want   string
	}{
		{"GET", nil, 0, ""},
		{"DELETE", nil, 0, ""},
		{"POST", nil, 0, "Content-Length: 0\r\n"},
		{"PUT", http.NoBody, 0, "Content-Length: 0\r\n"},
		{"POST", strings.NewReader("hello"), 5, "Content-Length: 5\r\n"},
		{"GET", strings.NewReader("hello"), 5, "Content-Length: 5\r\n"},
		{"POST", strings.NewReader("hello"), -1, "Transfer-Encoding: chunked\r\n"},
	} {
		r := httptest.NewRequest(c.method, "/", c.body)
		r.ContentLength = c.length
		r.Header.Set("Content-Length", "77") // what the server left there decides nothing
		got := wire(t, Options{}, r)
		for _, line := range []string{"Content-Length: 0\r\n", "Content-Length: 5\r\n", "Content-Length: 77\r\n", "Transfer-Encoding: chunked\r\n"} {
			if strings.Contains(got, line) != (line == c.want) {
				t.Errorf("%s, length %d: %q", c.method, c.length, got)
			}
		}
	}
}

func TestForwardedFields(t *testing.T) {
	t.Parallel()
	trusted := Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}}
	spoofed := http.Header{
		"X-Forwarded-For": {"1.1.1.1", "2.2.2.2"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Port": {"1"},
		"X-Real-Ip": {"1.1.1.1"}, "Forwarded": {"for=1.1.1.1"}, "X_forwarded_for": {"3.3.3.3"}, "X-Forwarded_host": {"evil"}, "X-Other_name": {"kept"},
	}
	for name, c := range map[string]struct {
		o      Options
		remote string
		in     http.Header
		want   []string
	}{
		"nothing said": {Options{}, "192.0.2.1:5", nil, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: example.com"}},
		"spoofed": {Options{}, "192.0.2.1:5", spoofed,
			[]string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: example.com", "X-Other_name: kept"}},
		"trusted": {trusted, "192.0.2.1:5", spoofed, []string{"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.1", "X-Forwarded-Proto: https",
			"X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "X-Real-Ip: 1.1.1.1", `Forwarded: for=1.1.1.1, for=192.0.2.1;host="example.com";proto=http`, "X-Other_name: kept"}},
		"trusted, nothing said": {trusted, "[2001:db8::1]:5", nil,
			[]string{"X-Forwarded-For: 2001:db8::1", "X-Forwarded-Proto: http", "X-Forwarded-Host: example.com"}},
		"trusted over IPv6": {trusted, "[2001:db8::1]:5", http.Header{"Forwarded": {"for=x"}},
			[]string{"X-Forwarded-For: 2001:db8::1", "X-Forwarded-Proto: http", "X-Forwarded-Host: example.com", `Forwarded: for=x, for="[2001:db8::1]";host="example.com";proto=http`}},
		"mapped":      {trusted, "[::ffff:192.0.2.1]:5", http.Header{"X-Forwarded-For": {"1.1.1.1"}}, []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: example.com"}},
		"unix socket": {Options{}, "@", spoofed, []string{"X-Forwarded-Proto: http", "X-Forwarded-Host: example.com", "X-Other_name: kept"}},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.remote
		if c.in != nil {
			r.Header = c.in.Clone()
		}
		got := strings.Split(strings.TrimSuffix(wire(t, c.o, r), "\r\n\r\n"), "\r\n")[2:]
		seen := make(map[string]bool)
		for _, line := range got {
			seen[line] = true
		}
		for _, line := range c.want {
			if !seen[line] {
				t.Errorf("%s: no line %q in %q", name, line, got)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// FuzzRequest holds that whatever request the server lets in, the worker reads exactly one request, with the same body.
func FuzzRequest(f *testing.F) {
	f.Add("GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close, X-A\r\nX-A: b\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	f.Add("GET http:foo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		in, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		in.RemoteAddr = "192.0.2.1:1"
		out, fail := New(Options{}).prepare(in, nil)
		if fail != nil || out.stream {
			return
		}
		r := bufio.NewReader(strings.NewReader(string(out.wire)))
		got, err := http.ReadRequest(r)
		if err != nil {
			if strings.Contains(err.Error(), "malformed Host") || strings.Contains(err.Error(), "invalid") {
				return // which the server itself refuses, after reading
			}
			t.Fatalf("the worker cannot read %q: %v", out.wire, err)
		}
		body, err := io.ReadAll(got.Body)
		if err != nil || len(body) != out.bodySize || got.Method != in.Method {
			t.Errorf("%s became %s with a body of %d, %v", in.Method, got.Method, len(body), err)
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
			t.Errorf("after the request the worker reads %q, %v", rest, err)
		}
	})
}
