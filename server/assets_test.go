package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/server/config"
)

// raw sends a request exactly as it is and returns all of the answer.
func raw(t *testing.T, s *served, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(bufio.NewReader(c))
	if err != nil && len(answer) == 0 {
		return err.Error()
	}
	return string(answer)
}

func TestStaticFiles(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := filepath.Join(base, "static")
	if err := os.MkdirAll(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"static/app.3f9a1c07.js": "let a", "secret.txt": "SECRET", "static/.env": "SECRET", "static/.git/config": "SECRET"} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := serveStack(t, config.Config{Assets: config.AssetsConfig{StaticDir: dir}, Security: config.SecurityConfig{RateLimitEnabled: true, RateLimitPerMinute: 1}}, func(s *Server) {
		s.Router().Get("/*", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the application") })
	})
	for range 5 { // the files of a page are not held to limits
		resp, body := s.do(t, http.MethodGet, "/static/app.3f9a1c07.js", nil)
		if resp.StatusCode != http.StatusOK || body != "let a" || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
		}
	}
	if resp, _ := s.do(t, http.MethodPost, "/static/app.3f9a1c07.js", nil); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	for _, path := range []string{"/static/../secret.txt", "/static/%2e%2e/secret.txt", "/static/..%2fsecret.txt", "/static/..%5csecret.txt", "/static/.env", "/static/%2eenv",
		"/static/.git/config", "/static//etc/passwd", "/static/", "/static/./app.3f9a1c07.js", "/static/app.3f9a1c07.js%00.txt", "/static/....//secret.txt", "/static/%252e%252e/secret.txt"} {
		answer := raw(t, s, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path))
		if strings.Contains(answer, "SECRET") || !strings.HasPrefix(answer, "HTTP/1.1 404 ") {
			t.Errorf("%s: %.200s", path, answer)
		}
	}
	if got := metric(t, s.Server, "covetpy_requests_total", "/static/*"); got < 5 {
		t.Errorf("%v requests counted for /static/*", got)
	}
}

func TestAssetURLs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		assets     config.AssetsConfig
		name, want string
	}{
		{config.AssetsConfig{}, "css/app.css", "/static/css/app.css"},
		{config.AssetsConfig{CDNURL: "https://cdn.example/"}, "/a b.css", "https://cdn.example/static/a%20b.css"},
		{config.AssetsConfig{StaticURL: "https://files.example/s/"}, "app.css", "https://files.example/s/app.css"},
	} {
		s, err := New(config.Config{Assets: c.assets}, WithLogOutput(io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.AssetURL(c.name); got != c.want {
			t.Errorf("%+v: %s, want %s", c.assets, got, c.want)
		}
	}
}
