package server

import "strings"

// headerTraceparent is what tells of the trace that a request is part of (W3C Trace Context), as net/http keys it.
const headerTraceparent = "Traceparent"

// traceOf returns the trace of a traceparent header, "" where it is none: version, trace, parent and flags, in lower-case
// hexadecimal, where all zeros are no trace and no parent. Versions to come may have more after these.
func traceOf(header []string) string {
	if len(header) != 1 {
		return ""
	}
	const whole = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	h := header[0]
	if len(h) < whole || h[2] != '-' || h[35] != '-' || h[52] != '-' {
		return ""
	}
	version, trace, parent, flags := h[:2], h[3:35], h[36:52], h[53:55]
	if !lowerHex(version) || version == "ff" || !lowerHex(trace) || !lowerHex(parent) || !lowerHex(flags) {
		return ""
	}
	if len(h) > whole && (version == "00" || h[55] != '-') {
		return ""
	}
	if strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return ""
	}
	return trace
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// traceIDOf is the trace that a request's lines in the log belong to: the caller's, or else one of its own under the
// request's id, where that can be one.
func traceIDOf(header []string, requestID string) string {
	if trace := traceOf(header); trace != "" {
		return trace
	}
	if len(requestID) == 32 && lowerHex(requestID) && strings.Trim(requestID, "0") != "" {
		return requestID
	}
	return ""
}
