package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
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
func newCrossOrigin(c SecurityConfig, registry *prometheus.Registry) (*crossOrigin, error) {
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

// origins reads a comma-separated list of origins and writes each as a browser does.
func origins(dst *[]string) func(string) error {
	return func(v string) error {
		var out []string
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			o, err := originOf(part)
			if err != nil {
				return err
			}
			out = append(out, o)
		}
		*dst = out
		return nil
	}
}

func originOf(text string) (string, error) {
	if text == "null" || strings.Contains(text, "*") {
		return "", fmt.Errorf("holds %q, which stands for anybody: name each origin", text)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("holds %q, which is no origin (scheme://host[:port])", text)
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", errors.New("holds an address with more than scheme, host and port")
	}
	host := strings.ToLower(u.Host)
	if h, port, err := net.SplitHostPort(host); err == nil && (u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80") {
		host = h
		if strings.Contains(h, ":") {
			host = "[" + h + "]"
		}
	}
	return u.Scheme + "://" + host, nil
}
