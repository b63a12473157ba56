package main

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/covetpy/covet/test/kubetest"
)

// front stands before the API server and notes what is asked.
type front struct {
	kubeconfig string
	server     *http.Server

	mu    sync.Mutex
	asked []string
}

// counting puts a front before a cluster.
func counting(c *kubetest.Cluster) (*front, error) {
	to, err := url.Parse(c.Server)
	if err != nil {
		return nil, err
	}
	admin, err := c.AdminTLS()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{kubeconfig: filepath.Join(c.Dir, "front.kubeconfig")}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: &http.Transport{TLSClientConfig: admin, MaxIdleConnsPerHost: 100}, FlushInterval: -1}
	f.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.note(r)
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = f.server.Serve(l) }() // until it is closed
	config := strings.NewReplacer("ADDRESS", l.Addr().String()).Replace(`apiVersion: v1
kind: Config
current-context: crowd
clusters: [{name: crowd, cluster: {server: "http://ADDRESS"}}]
users: [{name: crowd, user: {}}]
contexts: [{name: crowd, context: {cluster: crowd, user: crowd, namespace: crowd}}]
`)
	return f, os.WriteFile(f.kubeconfig, []byte(config), 0o600)
}

func (f *front) note(r *http.Request) {
	kind := r.Method
	if r.URL.Query().Get("watch") != "" {
		kind = "WATCH"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, kind+" "+r.URL.Path)
}

func (f *front) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = nil
}

func (f *front) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func (f *front) close() { _ = f.server.Close() }
