package proxy

import (
	"net/http"
	"net/netip"
	"strings"
)

// forwarding says whether a field, by its canonical name, tells about earlier hops, so that appendForwarded decides on
// it. Names with an underscore are told by the name that a CGI-like worker would take them for.
func forwarding(name string) bool {
	switch name[0] {
	case 'X', 'F':
	default:
		return false
	}
	if strings.IndexByte(name, '_') >= 0 {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	return strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip"
}

// appendForwarded appends the fields that tell the instance whom the request comes from, and returns how many lines. What
// a trusted proxy said is kept and added to; anybody else's word is dropped.
func (b *Balancer) appendForwarded(dst []byte, r *http.Request) ([]byte, int) {
	w := lines{buf: dst}
	peer := peerOf(r.RemoteAddr)
	proto := "http"
	if r.TLS != nil {
		proto = "https"
	}
	if !b.trusts(peer) {
		if peer.IsValid() {
			w.addAddr("X-Forwarded-For", "", peer)
		}
		w.add("X-Forwarded-Proto", proto)
		w.add("X-Forwarded-Host", r.Host)
		return w.buf, w.n
	}
	w.addAddr("X-Forwarded-For", strings.Join(r.Header["X-Forwarded-For"], ", "), peer)
	if len(r.Header["X-Forwarded-Proto"]) == 0 {
		w.add("X-Forwarded-Proto", proto)
	}
	if len(r.Header["X-Forwarded-Host"]) == 0 {
		w.add("X-Forwarded-Host", r.Host)
	}
	for name, values := range r.Header {
		if !forwarding(name) || name == "X-Forwarded-For" || name == "Forwarded" || !validName(name) || strings.IndexByte(name, '_') >= 0 {
			continue
		}
		for _, v := range values {
			w.add(name, v)
		}
	}
	if before := r.Header["Forwarded"]; len(before) > 0 {
		w.add("Forwarded", strings.Join(before, ", ")+", "+element(peer, r.Host, proto))
	}
	return w.buf, w.n
}

// lines appends header lines and counts them.
type lines struct {
	buf []byte
	n   int
}

func (l *lines) add(name, value string) {
	l.buf = append(append(append(append(l.buf, name...), ": "...), value...), "\r\n"...)
	l.n++
}

// addAddr appends a line with an address at the end of a list.
func (l *lines) addAddr(name, before string, addr netip.Addr) {
	l.buf = append(append(append(l.buf, name...), ": "...), before...)
	if before != "" {
		l.buf = append(l.buf, ", "...)
	}
	l.buf = append(addr.AppendTo(l.buf), "\r\n"...)
	l.n++
}

// element is this hop in the Forwarded field (RFC 7239, 4).
func element(peer netip.Addr, host, proto string) string {
	node := peer.String()
	if peer.Is6() {
		node = `"[` + node + `]"`
	}
	return "for=" + node + `;host="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(host) + `";proto=` + proto
}

// peerOf is the address in a RemoteAddr, the zero Addr where there is none (a unix socket).
func peerOf(remote string) netip.Addr {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return ap.Addr().Unmap()
	}
	addr, err := netip.ParseAddr(remote) // set by a middleware that knows the client's address only
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

func (b *Balancer) trusts(peer netip.Addr) bool {
	for _, p := range b.opts.TrustedProxies {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}
