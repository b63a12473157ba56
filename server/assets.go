package server

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/static"
)

// assets are the service's static files.
type assets struct {
	files  *static.Files
	prefix string // of their paths: /static/
}

// openAssets opens STATIC_DIR, if there is one.
func (s *Server) openAssets() error {
	c := s.cfg.Assets
	if c.StaticDir == "" {
		return nil
	}
	files, err := static.Open(c.StaticDir)
	if err != nil {
		return err
	}
	a := &assets{files: files, prefix: c.StaticURL}
	if u, err := url.Parse(c.StaticURL); err == nil && u.Host != "" {
		a.prefix = u.Path // where a content network fetches them
	}
	if a.prefix == "" || a.prefix == "/" {
		a.prefix = config.DefaultStaticURL
	}
	s.assets = a
	s.Component(Component{Name: "static files", Stop: func(context.Context) error { return files.Close() }})
	return nil
}

// AssetURL is the address that pages give for a static file, such as css/app.css: below CDN_URL where there is one, else
// below STATIC_URL.
func (s *Server) AssetURL(name string) string {
	c := s.cfg.Assets
	escaped := (&url.URL{Path: strings.TrimLeft(name, "/")}).EscapedPath()
	if strings.HasPrefix(c.StaticURL, "/") {
		return strings.TrimRight(c.CDNURL, "/") + c.StaticURL + escaped
	}
	return c.StaticURL + escaped
}

// serve answers requests for static files. It returns false where the path is not one of theirs. They pass no limits: a
// page fetches many at once.
func (a *assets) serve(w *response, r *http.Request) bool {
	if a == nil {
		return false
	}
	name, ok := strings.CutPrefix(r.URL.Path, a.prefix)
	if !ok {
		return false
	}
	w.pattern = a.prefix + "*"
	readOnly(func(rw http.ResponseWriter, r *http.Request) {
		if err := a.files.Serve(rw, r, name); err != nil {
			notFound(rw, r)
		}
	}).ServeHTTP(w, r)
	return true
}
