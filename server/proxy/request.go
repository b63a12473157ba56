package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// smallBody is the largest request body that is read before an instance is chosen and sent in one piece with the head:
// a slow client then occupies no instance, and the request can be made again elsewhere.
const smallBody = 16 << 10

// outbound is a request as it is sent to an instance.
type outbound struct {
	wire []byte // the head, and a small body

	method    string
	canary    bool
	upgrade   string // the protocol asked for, "" for none
	repeat    bool   // idempotent and without a body: may be sent again if a connection turns out to be dead
	stream    bool   // a body follows wire
	chunked   bool   // in chunks, as its length is not known
	continued bool   // the client waits for 100 Continue before it sends the body
	bodySize  int    // of the small body in wire
}

// prepare serialises r into buf[:0] and reads a small body.
func (b *Balancer) prepare(r *http.Request, buf []byte) (out outbound, fail *failure) {
	out = outbound{method: r.Method, canary: isCanary(r), upgrade: wantsUpgrade(r)}
	out.plan(r)
	if !validName(r.Method) || r.Method == http.MethodConnect {
		return out, badRequest("the method " + strconv.Quote(r.Method) + " is not served here")
	}
	wire := append(append(buf[:0], r.Method...), ' ')
	wire, ok := appendTarget(wire, r.URL)
	if !ok {
		return out, badRequest("the request target is not a path")
	}
	wire = append(wire, " HTTP/1.1\r\nHost: "...)
	wire = append(append(wire, r.Host...), "\r\n"...)
	lines := 2
	wire, n := out.appendFraming(wire, r)
	lines += n
	wire, n = b.appendFields(wire, r)
	lines += n
	wire, n = b.appendForwarded(wire, r)
	lines += n
	wire = append(wire, "\r\n"...)
	// The server has refused control characters already; this holds for what a middleware may have put in, too.
	if bytes.Count(wire, []byte("\n")) != lines+1 || bytes.Count(wire, []byte("\r")) != lines+1 || bytes.IndexByte(wire, 0) >= 0 {
		return out, badRequest("a header field holds a control character")
	}
	out.wire = wire
	if out.bodySize > 0 {
		return out, out.readBody(r)
	}
	return out, nil
}

// plan decides how the body travels.
func (out *outbound) plan(r *http.Request) {
	bodyless := r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody
	if !bodyless {
		out.upgrade = "" // a protocol switch in the middle of a body is not worth supporting
		out.continued = hasToken(r.Header["Expect"], "100-continue") && r.ProtoAtLeast(1, 1)
		out.chunked = r.ContentLength < 0
		out.stream = out.chunked || out.continued || r.ContentLength > smallBody
		if !out.stream {
			out.bodySize = int(r.ContentLength)
		}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		out.repeat = bodyless
	}
}

// readBody appends the whole of a small body to wire.
func (out *outbound) readBody(r *http.Request) *failure {
	head := len(out.wire)
	out.wire = slices.Grow(out.wire, out.bodySize)[:head+out.bodySize]
	if _, err := io.ReadFull(r.Body, out.wire[head:]); err != nil {
		return bodyFailure(r.Context(), err)
	}
	return nil
}

// appendTarget appends the path and query. What is outside the visible characters is escaped: HTTP/2 lets a query hold
// a space, which would end the target of an HTTP/1.1 request.
func appendTarget(dst []byte, u *url.URL) ([]byte, bool) {
	path := u.EscapedPath()
	if u.Opaque != "" || path != "*" && path != "" && path[0] != '/' {
		return dst, false
	}
	if path == "" {
		path = "/"
	}
	dst = appendVisible(dst, path)
	if u.ForceQuery || u.RawQuery != "" {
		dst = appendVisible(append(dst, '?'), u.RawQuery)
	}
	return dst, true
}

func appendVisible(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendFraming appends the fields that say what follows the head, and returns how many.
func (out *outbound) appendFraming(dst []byte, r *http.Request) ([]byte, int) {
	lines := 0
	switch {
	case out.upgrade != "":
		dst = append(append(append(dst, "Connection: Upgrade\r\nUpgrade: "...), out.upgrade...), "\r\n"...)
		lines += 2
	case out.chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
		lines++
		if names := announced(r.Trailer); names != "" {
			dst = append(append(append(dst, "Trailer: "...), names...), "\r\n"...)
			lines++
		}
	case out.stream, out.bodySize > 0:
		dst = strconv.AppendInt(append(dst, "Content-Length: "...), r.ContentLength, 10)
		dst = append(dst, "\r\n"...)
		lines++
	case r.Method == http.MethodPost, r.Method == http.MethodPut, r.Method == http.MethodPatch:
		dst = append(dst, "Content-Length: 0\r\n"...)
		lines++
	}
	if out.continued {
		dst = append(dst, "Expect: 100-continue\r\n"...)
		lines++
	}
	if te := r.Header["Te"]; len(te) > 0 && hasToken(te, "trailers") {
		dst = append(dst, "TE: trailers\r\n"...)
		lines++
	}
	return dst, lines
}

// ours says whether a field is the balancer's to write. A CGI-like worker takes Content_Length for Content-Length.
func ours(name string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	return hopByHop(name) || name == "Content-Length" || name == "Host" || name == "Expect"
}

// appendFields appends the end-to-end fields, and returns how many.
func (b *Balancer) appendFields(dst []byte, r *http.Request) ([]byte, int) {
	drop := nominated(r.Header["Connection"])
	lines := 0
	for name, values := range r.Header {
		if ours(name) || forwarding(name) {
			continue
		}
		if len(drop) > 0 && slices.Contains(drop, name) || !validName(name) {
			continue
		}
		for _, v := range values {
			dst = append(append(dst, name...), ": "...)
			dst = append(append(dst, v...), "\r\n"...)
			lines++
		}
	}
	return dst, lines
}

// announced lists the trailers that the client has announced and that may be passed on.
func announced(trailer http.Header) string {
	var names []string
	for name := range trailer {
		if !barred(name) && validName(name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func isCanary(r *http.Request) bool {
	v := r.Header["X-Canary"]
	return len(v) > 0 && strings.EqualFold(v[0], "true")
}

// wantsUpgrade returns the one protocol that the client asks to switch to. A switch to HTTP/2 is not offered: it would
// carry requests past everything in front of the instance.
func wantsUpgrade(r *http.Request) string {
	u := r.Header["Upgrade"]
	if len(u) != 1 || !hasToken(r.Header["Connection"], "upgrade") || r.ProtoMajor != 1 || !r.ProtoAtLeast(1, 1) {
		return ""
	}
	if name, _, _ := strings.Cut(u[0], "/"); !validName(name) || strings.EqualFold(name, "h2c") || strings.ContainsAny(u[0], ", ") {
		return ""
	}
	return u[0]
}
