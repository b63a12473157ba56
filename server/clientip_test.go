package server

import (
	"net/http"
	"net/netip"
	"testing"
)

// Whatever a client writes into X-Forwarded-For, what comes out is an address, and none that only an untrusted peer said.
func FuzzClientIP(f *testing.F) {
	for _, s := range []string{"203.0.113.7", "1.2.3.4, 10.0.0.1", "[2001:db8::1]:443, 10.1.1.1", "::ffff:1.2.3.4", "fe80::1%eth0", ",,,", "unknown"} {
		f.Add("10.0.0.9:1234", s)
		f.Add("203.0.113.1:1234", s)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		peer, err := netip.ParseAddrPort(remote)
		if err != nil {
			t.Skip()
		}
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		got := clientIP(r, trusted)
		if _, err := netip.ParseAddr(got); err != nil {
			t.Fatalf("%q, %q: %q is no address", remote, forwarded, got)
		}
		if !within(peer.Addr(), trusted) && got != hostOf(remote) {
			t.Fatalf("%q is not trusted, and was believed: %q", remote, got)
		}
	})
}
