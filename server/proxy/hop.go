package proxy

import (
	"net/http"
	"strings"
)

// hopByHop says whether a field, by its canonical name, is about one connection and not about the message (RFC 9110,
// 7.6.1, with the older names that clients still send).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

// nominated returns the canonical names of the fields that Connection values declare to be about the connection.
// It returns nil for the usual values, keep-alive and close.
func nominated(connection []string) (names []string) {
	for _, v := range connection {
		for token := range strings.SplitSeq(v, ",") {
			switch token = strings.TrimSpace(token); {
			case token == "", strings.EqualFold(token, "keep-alive"), strings.EqualFold(token, "close"):
			default:
				names = append(names, http.CanonicalHeaderKey(token))
			}
		}
	}
	return names
}

// hasToken says whether one of the comma-separated values is token, in whatever case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// barred says whether a trailer must not be passed on: fields that frame, route or authorise a message mean something only
// before its body (RFC 9110, 6.5.1).
func barred(name string) bool {
	switch name {
	case "Content-Length", "Host", "Content-Encoding", "Content-Type", "Content-Range", "Authorization", "Cookie",
		"Set-Cookie", "Cache-Control", "Expect", "Max-Forwards", "Forwarded", "X-Real-Ip":
		return true
	}
	return hopByHop(name) || strings.HasPrefix(name, "X-Forwarded-")
}
