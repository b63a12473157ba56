package server

import "net/http"

// fixedHeader is a header whose value never changes; its slice is shared by all responses and full, so that a handler's
// Add makes a copy.
type fixedHeader struct {
	name  string
	value []string
}

// securityHeaders go with every response that does not set them itself. A Content-Security-Policy is not among them:
// what an application's pages may load only the application knows; the runtime's own pages get ownPolicy.
var securityHeaders = []fixedHeader{
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"X-Frame-Options", []string{"DENY"}},
	{"Referrer-Policy", []string{"strict-origin-when-cross-origin"}},
}

var (
	// strictTransport goes with responses over TLS only: a browser ignores it elsewhere (RFC 6797, 8.1).
	strictTransport = fixedHeader{"Strict-Transport-Security", []string{"max-age=63072000; includeSubDomains; preload"}}
	connectionClose = []string{"close"}
	ownPolicy       = []string{"default-src 'none'; frame-ancestors 'none'"}
	contentJSON     = []string{"application/json; charset=utf-8"}
	noStore         = []string{"no-store"}
)

// set puts the header where the response has none. A handler that wants none at all sets it to nil.
func (f fixedHeader) set(h http.Header) {
	if _, ok := h[f.name]; !ok {
		h[f.name] = f.value
	}
}
