package registry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// registry is a server that speaks as much of the distribution protocol as a digest takes, behind a token service.
func registry(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.URL.Query().Get("scope") != "repository:team/shop:pull" || user != "ada" || password != "secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"token":"t0k3n"}`))
	})
	mux.HandleFunc("HEAD /v2/team/shop/manifests/{tag}", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer t0k3n":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token",service="registry",scope="repository:team/shop:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.PathValue("tag") != "v1.0.0":
			w.WriteHeader(http.StatusNotFound)
		case !strings.Contains(r.Header.Get("Accept"), "image.index"):
			w.WriteHeader(http.StatusNotAcceptable)
		default:
			w.Header().Set("Docker-Content-Digest", digest)
		}
	})
	return strings.TrimPrefix(s.URL, "http://")
}

func TestResolve(t *testing.T) {
	t.Parallel()
	host := registry(t)
	auth := []byte(`{"auths":{"` + host + `":{"username":"ada","password":"secret"}}}`)
	c := &Client{HTTP: http.DefaultClient, auth: func(host string) string { return authIn(auth, host) }}
	if got, err := c.Resolve(t.Context(), host+"/team/shop:v1.0.0"); err != nil || got != digest {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := c.Resolve(t.Context(), host+"/team/shop:v9"); err == nil || !strings.Contains(err.Error(), "has no team/shop:v9") {
		t.Errorf("a tag that is not there: %v", err)
	}
	c.auth = nil
	if _, err := c.Resolve(t.Context(), host+"/team/shop:v1.0.0"); err == nil || !strings.Contains(err.Error(), "docker login") {
		t.Errorf("without a login: %v", err)
	}
	if _, err := c.Resolve(t.Context(), "127.0.0.1:1/team/shop:v1.0.0"); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for image, want := range map[string][3]string{
		"nginx":                      {"registry-1.docker.io", "library/nginx", "latest"},
		"team/shop:v1":               {"registry-1.docker.io", "team/shop", "v1"},
		"docker.io/team/shop":        {"registry-1.docker.io", "team/shop", "latest"},
		"reg.example.com/a/b/c:v1.2": {"reg.example.com", "a/b/c", "v1.2"},
		"localhost/shop:v1":          {"localhost", "shop", "v1"},
		"reg:5000/shop":              {"reg:5000", "shop", "latest"},
	} {
		host, name, tag := parse(image)
		if got := [3]string{host, name, tag}; got != want {
			t.Errorf("%s is %v, want %v", image, got, want)
		}
	}
}
