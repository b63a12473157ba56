package server

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/covetpy/covet/server/config"
)

func serveCrossOrigin(t *testing.T, credentials bool) *served {
	cfg := config.Config{PrometheusEnabled: true, Security: config.SecurityConfig{CORSOrigins: []string{"https://shop.example", "http://localhost:3000"}, CORSAllowCredentials: credentials}}
	return serveStack(t, cfg, func(s *Server) {
		s.Fallback(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Vary", "X-Origin-Kind")
			w.Header().Set(allowOrigin, "*") // what an application behind may think
			w.Header().Set(allowCredentials, "true")
			_, _ = io.WriteString(w, r.Method)
		}))
	})
}

func TestCORSAllowsTheVeryOriginOnly(t *testing.T) {
	t.Parallel()
	s := serveCrossOrigin(t, true)
	for origin, want := range map[string]string{
		"https://shop.example":           "https://shop.example",
		"http://localhost:3000":          "http://localhost:3000",
		"http://shop.example":            "",
		"https://shop.example:8443":      "",
		"https://api.shop.example":       "",
		"https://evilshop.example":       "",
		"https://shop.example.evil.test": "",
		"https://SHOP.example":           "",
		"null":                           "",
		"":                               "",
	} {
		resp, _ := s.do(t, "GET", "/x", nil, "Origin", origin)
		if got := resp.Header.Get(allowOrigin); got != want {
			t.Errorf("%q: %s: %q, want %q", origin, allowOrigin, got, want)
		}
		if got := resp.Header.Get(allowCredentials) == "true"; got != (want != "") {
			t.Errorf("%q: credentials %v", origin, got)
		}
		if got := strings.Join(resp.Header["Vary"], ", "); got != "X-Origin-Kind, Origin" {
			t.Errorf("%q: Vary %q", origin, got)
		}
	}
	plain := serveCrossOrigin(t, false)
	resp, _ := plain.do(t, "GET", "/x", nil, "Origin", "https://shop.example")
	if resp.Header.Get(allowCredentials) != "" {
		t.Error("credentials are allowed though CORS_ALLOW_CREDENTIALS is off")
	}
}

func TestCORSPreflight(t *testing.T) {
	t.Parallel()
	s := serveCrossOrigin(t, true)
	for _, c := range []struct {
		origin, method string
		want           int
	}{
		{"https://shop.example", "PUT", 204}, {"https://shop.example", "TRACE", 403},
		{"https://evil.test", "PUT", 403}, {"null", "PUT", 403}, {"https://a.shop.example", "PUT", 403},
	} {
		resp, body := s.do(t, "OPTIONS", "/x", nil, "Origin", c.origin, requestMethod, c.method, requestHeaders, "authorization, x-csrf")
		if resp.StatusCode != c.want || (c.want == 403) != strings.Contains(body, "CORS_ORIGINS") {
			t.Errorf("%s %s: %d %s", c.origin, c.method, resp.StatusCode, body)
		}
		if got := resp.Header.Get("Access-Control-Allow-Headers"); (got == "authorization, x-csrf") != (c.want == 204) {
			t.Errorf("%s: headers %q", c.origin, got)
		}
		if !strings.Contains(resp.Header.Get("Vary"), requestHeaders) {
			t.Errorf("Vary %q", resp.Header.Get("Vary"))
		}
	}
	if _, body := s.do(t, "OPTIONS", "/x", nil, "Origin", "https://shop.example"); body != "OPTIONS" {
		t.Errorf("an OPTIONS that is no preflight got %q", body)
	}
}

// Without CORS_ORIGINS what the application says stands.
func TestCORSLeftToTheApplication(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{}, func(s *Server) {
		s.Fallback(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(allowOrigin, "https://mine.example") }))
	})
	resp, _ := s.do(t, "OPTIONS", "/x", nil, "Origin", "https://mine.example", requestMethod, "PUT")
	if resp.StatusCode != http.StatusOK || resp.Header.Get(allowOrigin) != "https://mine.example" || resp.Header.Get("Vary") != "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

func TestCSRF(t *testing.T) {
	t.Parallel()
	trusting, other := serveCrossOrigin(t, true), serveCrossOrigin(t, false)
	for name, c := range map[string]struct {
		s       *served
		method  string
		headers []string
		want    int
	}{
		"another site with cookies":      {trusting, "POST", []string{"Cookie", "sid=1", "Sec-Fetch-Site", "cross-site"}, 403},
		"a sibling with cookies":         {trusting, "POST", []string{"Cookie", "sid=1", "Sec-Fetch-Site", "same-site", "Origin", "https://a.shop.example"}, 403},
		"null with cookies":              {trusting, "DELETE", []string{"Cookie", "sid=1", "Origin", "null"}, 403},
		"an old browser":                 {trusting, "POST", []string{"Cookie", "sid=1", "Origin", "https://evil.test"}, 403},
		"another site, reading":          {trusting, "GET", []string{"Cookie", "sid=1", "Sec-Fetch-Site", "cross-site"}, 200},
		"another site without cookies":   {trusting, "POST", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		"its own pages":                  {trusting, "POST", []string{"Cookie", "sid=1", "Sec-Fetch-Site", "same-origin"}, 200},
		"no browser":                     {trusting, "POST", []string{"Cookie", "sid=1"}, 200},
		"an origin with credentials":     {trusting, "POST", []string{"Cookie", "sid=1", "Sec-Fetch-Site", "cross-site", "Origin", "https://shop.example"}, 200},
		"an origin without, by its form": {other, "POST", []string{"Cookie", "sid=1", "Sec-Fetch-Site", "cross-site", "Origin", "https://shop.example"}, 403},
	} {
		resp, _ := c.s.do(t, c.method, "/x", nil, c.headers...)
		if resp.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, c.want)
		}
	}
	if _, text := trusting.do(t, "GET", "/metrics", nil); !strings.Contains(text, `covetpy_cross_origin_refused_total{kind="forgery"} 4`) {
		t.Error("the metric does not count what was refused")
	}
}

func TestCORSOriginsSetting(t *testing.T) {
	t.Parallel()
	cfg, _, err := config.Load(config.Sources{Environ: []string{"CORS_ORIGINS=https://Shop.example:443/, http://[::1]:80,http://a.example:81"}})
	if got := strings.Join(cfg.Security.CORSOrigins, " "); err != nil || got != "https://shop.example http://[::1] http://a.example:81" {
		t.Errorf("%q, %v", got, err)
	}
	for value, says := range map[string]string{"*": "stands for anybody", "null": "stands for anybody", "https://*.shop.example": "stands for anybody",
		"shop.example": "is no origin", "https://shop.example/path": "more than scheme", "ftp://shop.example": "is no origin"} {
		if _, _, err := config.Load(config.Sources{Environ: []string{"CORS_ORIGINS=" + value}}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", value, err)
		}
	}
}
