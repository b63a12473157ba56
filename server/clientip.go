package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientIP returns the client's address. Only a peer in trusted is believed: the right-most address of X-Forwarded-For
// that is not itself a trusted proxy is the client, because everything left of it was written by the client. With no
// trusted proxies, nothing a client sends counts.
func clientIP(r *http.Request, trusted []netip.Prefix) string {
	peer := hostOf(r.RemoteAddr)
	if len(trusted) == 0 {
		return peer
	}
	addr, err := netip.ParseAddr(peer)
	if err != nil || !within(addr, trusted) {
		return peer
	}
	forwarded := r.Header["X-Forwarded-For"]
	client := addr
	for i := len(forwarded) - 1; i >= 0; i-- {
		for list := forwarded[i]; list != ""; {
			var last string
			if comma := strings.LastIndexByte(list, ','); comma >= 0 {
				list, last = list[:comma], list[comma+1:]
			} else {
				list, last = "", list
			}
			next, err := netip.ParseAddr(hostOf(strings.TrimSpace(last)))
			if err != nil {
				return client.Unmap().String() // what stands left of nonsense is worth nothing
			}
			client = next
			if !within(client, trusted) {
				return client.Unmap().String()
			}
		}
	}
	return client.Unmap().String()
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	a = a.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// hostOf strips the port, brackets and zone from an address.
func hostOf(s string) string {
	if strings.HasPrefix(s, "[") {
		if end := strings.IndexByte(s, ']'); end > 0 {
			s = s[1:end]
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 && strings.IndexByte(s[i+1:], ':') < 0 {
		s = s[:i]
	}
	if i := strings.IndexByte(s, '%'); i >= 0 {
		s = s[:i]
	}
	return s
}
