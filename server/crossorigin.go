package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/covetpy/covet/server/config"
)

// crossOrigin decides what pages of other origins may do with a browser: read answers (CORS), and change things with
// their user's cookies (CSRF).
type crossOrigin struct {
	origins     map[string][]string // allowed, each with its header value; empty: CORS is left to the application
	credentials bool
	forgery     *http.CrossOriginProtection
	refused     *prometheus.CounterVec
}

// Headers of CORS (Fetch Standard, 3.2), as net/http keys them.
const (
	allowOrigin      = "Access-Control-Allow-Origin"
	allowCredentials = "Access-Control-Allow-Credentials"
	requestMethod    = "Access-Control-Request-Method"
	requestHeaders   = "Access-Control-Request-Headers"
)

var (
	varyOrigin    = []string{"Origin"}
	varyPreflight = []string{"Origin, " + requestMethod + ", " + requestHeaders}
	valueTrue     = []string{"true"}
	exposed       = []string{"X-Request-Id, RateLimit, RateLimit-Policy, Retry-After, ETag"}
	preflightAge  = []string{"600"}
	corsMethods   = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
)

// newCrossOrigin makes the rules of a configuration.
func newCrossOrigin(c config.SecurityConfig, registry *prometheus.Registry) (*crossOrigin, error) {
	x := &crossOrigin{origins: map[string][]string{}, credentials: c.CORSAllowCredentials, forgery: http.NewCrossOriginProtection(),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "covetpy_cross_origin_refused_total", Help: "Requests of other origins' pages that were refused: preflight, or forgery (with cookies).",
		}, []string{"kind"})}
	registry.MustRegister(x.refused)
	for _, o := range c.CORSOrigins {
		x.origins[o] = []string{o}
		if !c.CORSAllowCredentials {
			continue // its pages get no cookies by fetch, and so must not by a form
		}
		if err := x.forgery.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("CORS_ORIGINS: %w", err)
		}
	}
	return x, nil
}

// admit answers preflights, and refuses requests that change something and carry cookies that another origin's page has
// sent along. It returns false where it has answered.
func (x *crossOrigin) admit(w *response, r *http.Request) bool {
	if len(x.origins) > 0 && r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header[requestMethod]) > 0 {
		x.preflight(w, r)
		return false
	}
	if len(r.Header["Cookie"]) == 0 {
		return true // nothing of the user's goes along
	}
	if err := x.forgery.Check(r); err != nil {
		x.refused.WithLabelValues("forgery").Inc()
		writeProblem(w, w.request, http.StatusForbidden, "cross-origin request refused: "+err.Error())
		return false
	}
	return true
}

// preflight answers whether a page may send a request that it has not sent yet.
func (x *crossOrigin) preflight(w *response, r *http.Request) {
	h := w.Header()
	h["Vary"] = varyPreflight
	if x.granted(r) == nil || !slices.Contains(corsMethods, r.Header[requestMethod][0]) {
		x.refused.WithLabelValues("preflight").Inc()
		writeProblem(w, w.request, http.StatusForbidden, "this origin may not do that (CORS_ORIGINS)")
		return
	}
	h["Access-Control-Allow-Methods"] = []string{strings.Join(corsMethods, ", ")}
	if names := r.Header[requestHeaders]; len(names) > 0 {
		h["Access-Control-Allow-Headers"] = names // whatever an allowed origin wants; the origin is what is trusted
	}
	h["Access-Control-Max-Age"] = preflightAge
	w.WriteHeader(http.StatusNoContent)
}

// granted returns the header value for a request's origin, nil where it is not allowed. Only the very origin counts: not
// its subdomains, no suffix of it, and not "null", which every sandboxed page may send.
func (x *crossOrigin) granted(r *http.Request) []string {
	if o := r.Header["Origin"]; len(o) == 1 {
		return x.origins[o[0]]
	}
	return nil
}

// answer adds the headers of CORS to an answer, in place of any that the application behind has set.
func (x *crossOrigin) answer(h http.Header, r *http.Request) {
	if len(x.origins) == 0 {
		return
	}
	if vary, ok := h["Vary"]; !ok {
		h["Vary"] = varyOrigin
	} else if !varies(vary) {
		h["Vary"] = append(slices.Clone(vary), "Origin")
	}
	delete(h, allowCredentials)
	granted := x.granted(r)
	if granted == nil {
		delete(h, allowOrigin)
		return
	}
	h[allowOrigin] = granted
	if x.credentials {
		h[allowCredentials] = valueTrue
	}
	if _, ok := h["Access-Control-Expose-Headers"]; !ok {
		h["Access-Control-Expose-Headers"] = exposed
	}
}

// varies says whether a Vary header names the origin already.
func varies(vary []string) bool {
	for _, value := range vary {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Origin") {
				return true
			}
		}
	}
	return false
}
