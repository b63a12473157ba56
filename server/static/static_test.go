package static

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// folder is one with everything that may lie in a folder of static files, and a secret beside it.
func folder(t *testing.T) *Files {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "static")
	for name, text := range map[string]string{
		"static/app.css": "body{}", "static/app.css.gz": "gzipped", "static/app.css.br": "brotli",
		"static/js/app.3f9a1c07.js": "let a", "static/.env": "SECRET=1", "static/.git/config": "secret", "static/empty.txt": "",
		"static/only.txt.gz": "gz", "secret.txt": "SECRET",
	} {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out.txt": "../secret.txt", "abs.txt": "/etc/passwd", "in.css": "app.css"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.txt"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func get(t *testing.T, f *Files, name string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	if err := f.Serve(w, r, name); err != nil {
		if !errors.Is(err, fs.ErrNotExist) || w.Body.Len() > 0 {
			t.Fatalf("%q: %v", name, err)
		}
		return nil
	}
	return w.Result()
}

func TestNothingButPlainFilesOfTheFolderIsServed(t *testing.T) {
	f := folder(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, name := range []string{"", ".", "..", "../secret.txt", "a/../../secret.txt", "/etc/passwd", "..\\secret.txt", ".env", ".git/config",
			"out.txt", "abs.txt", "js", "js/", "app.css/", "app.css\x00.js", "only.txt", "nothing.txt", "pipe.txt", "js//app.3f9a1c07.js", strings.Repeat("a/", 3000) + "b"} {
			if resp := get(t, f, name); resp != nil {
				body, _ := io.ReadAll(resp.Body)
				t.Errorf("%.40q was served: %d %q", name, resp.StatusCode, body)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("a pipe holds up whoever asks for it")
	}
	if resp := get(t, f, "in.css"); resp == nil {
		t.Error("a link within the folder is not followed")
	}
}

func TestCompressedFormsAndValidators(t *testing.T) {
	f := folder(t)
	for _, c := range []struct{ accept, encoding, body string }{
		{"", "", "body{}"}, {"gzip", "gzip", "gzipped"}, {"gzip, deflate, br", "br", "brotli"}, {"br;q=0, gzip;q=0.5", "gzip", "gzipped"},
		{"*", "br", "brotli"}, {"br;q=0, *;q=0", "", "body{}"}, {"identity", "", "body{}"}, {"gzip;q=nonsense", "", "body{}"},
	} {
		resp := get(t, f, "app.css", "Accept-Encoding", c.accept)
		body, _ := io.ReadAll(resp.Body)
		if got := resp.Header.Get("Content-Encoding"); got != c.encoding || string(body) != c.body {
			t.Errorf("%q: %q as %q, want %q as %q", c.accept, body, got, c.body, c.encoding)
		}
		if resp.Header.Get("Vary") != "Accept-Encoding" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/css") {
			t.Errorf("%q: %v", c.accept, resp.Header)
		}
		again := get(t, f, "app.css", "Accept-Encoding", c.accept, "If-None-Match", resp.Header.Get("Etag"))
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%q: its own ETag %s gives %d", c.accept, resp.Header.Get("Etag"), again.StatusCode)
		}
	}
	if a, b := get(t, f, "app.css"), get(t, f, "app.css", "Accept-Encoding", "br"); a.Header.Get("Etag") == b.Header.Get("Etag") {
		t.Error("two forms have the same ETag")
	}
	part := get(t, f, "app.css", "Range", "bytes=1-2")
	body, _ := io.ReadAll(part.Body)
	if part.StatusCode != http.StatusPartialContent || string(body) != "od" {
		t.Errorf("range: %d %q", part.StatusCode, body)
	}
}

func TestLifetimes(t *testing.T) {
	f := folder(t)
	if got := get(t, f, "js/app.3f9a1c07.js").Header.Get("Cache-Control"); got != immutable {
		t.Error(got)
	}
	if got := get(t, f, "app.css").Header.Get("Cache-Control"); got != revalidate {
		t.Error(got)
	}
	for name, want := range map[string]bool{
		"app.3f9a1c07.js": true, "app-3F9A1C07b2.min.css": true, "app.abcdef.js": false, "report-20260101.pdf": false, "jquery-3.7.1.min.js": false,
		"deadbeef.js": false, "a/b/x.0123456789abcdef.woff2": true, "noextension-3f9a1c07": false, "feedface.3.js": false,
	} {
		if Fingerprinted(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func FuzzServe(f *testing.F) {
	for _, s := range []string{"app.css", "../secret.txt", ".env", "a\x00b", "js/../../x", "%2e%2e/secret.txt"} {
		f.Add(s, "gzip, br;q=0.1")
	}
	base := f.TempDir()
	dir := filepath.Join(base, "static")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "app.css"), []byte("fine"), 0o644),
		os.WriteFile(filepath.Join(base, "secret.txt"), []byte("SECRET"), 0o644), os.WriteFile(filepath.Join(dir, ".env"), []byte("SECRET"), 0o644)); err != nil {
		f.Fatal(err)
	}
	files, err := Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = files.Close() })
	f.Fuzz(func(t *testing.T, name, accept string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Accept-Encoding"] = []string{accept}
		w := httptest.NewRecorder()
		if files.Serve(w, r, name) == nil && strings.Contains(w.Body.String(), "SECRET") {
			t.Fatalf("%q leads out of the folder", name)
		}
	})
}
