package sentry

import (
	"regexp"
	"strings"

	sdk "github.com/getsentry/sentry-go"
)

// tags and traceFields are the names that may leave.
var (
	tags        = []string{"request_id", "method", "endpoint", "status"}
	traceFields = []string{"trace_id", "span_id", "op"}
)

// permitted makes a new event of what may leave. Whatever else is in the old one, put there by the library or by an
// application, stays: who asked, what with, on which machine, with which modules and environment.
func permitted(e *sdk.Event) *sdk.Event {
	out := sdk.NewEvent()
	out.EventID, out.Type, out.Level, out.Platform, out.Sdk = e.EventID, e.Type, e.Level, e.Platform, sdk.SdkInfo{Name: e.Sdk.Name, Version: e.Sdk.Version}
	out.Timestamp, out.StartTime, out.TransactionInfo = e.Timestamp, e.StartTime, e.TransactionInfo
	out.Release, out.Environment, out.ServerName, out.Logger, out.Transaction = e.Release, e.Environment, e.ServerName, e.Logger, e.Transaction
	out.Message = e.Message
	for _, name := range tags {
		if v, ok := e.Tags[name]; ok {
			out.Tags[name] = v
		}
	}
	if trace, ok := e.Contexts["trace"]; ok {
		kept := sdk.Context{}
		for _, name := range traceFields {
			if v, ok := trace[name]; ok {
				kept[name] = v
			}
		}
		out.Contexts["trace"] = kept
	}
	for _, x := range e.Exception {
		out.Exception = append(out.Exception, sdk.Exception{Type: x.Type, Value: x.Value, Stacktrace: bare(x.Stacktrace)})
	}
	return out
}

// bare is a stack without the values of variables and the text of the source.
func bare(s *sdk.Stacktrace) *sdk.Stacktrace {
	if s == nil {
		return nil
	}
	out := &sdk.Stacktrace{}
	for _, f := range s.Frames {
		out.Frames = append(out.Frames, sdk.Frame{Function: f.Function, Module: f.Module, Filename: f.Filename, AbsPath: f.AbsPath, Lineno: f.Lineno, InApp: f.InApp})
	}
	return out
}

// removed stands for what was taken out of a text.
const removed = "[removed]"

// patterns are texts that may be secrets or people, wherever they stand: credentials of a header, tokens, what a URL has
// before its @ and after its ?, addresses of mail, long numbers and keys.
var patterns = []*regexp.Regexp{
	regexp.MustCompile(`(?i)\b(bearer|basic|digest|token)\s+[A-Za-z0-9._~+/=-]{6,}`),
	regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*`),
	regexp.MustCompile(`(?i)\b[a-z0-9_-]*(password|passwd|secret|token|api[_-]?key|authorization|cookie|session)[a-z0-9_-]*["']?\s*[=:]\s*\S+`),
	regexp.MustCompile(`//[^/\s@]+@`),
	regexp.MustCompile(`\?[^\s"']+=[^\s"']*`),
	regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`),
	regexp.MustCompile(`\b\d(?:[ -]?\d){11,}\b`),
	regexp.MustCompile(`\b[A-Za-z0-9_-]{40,}`),
}

const (
	maxText    = 500 // bytes of a text that leave
	worthwhile = 4   // shorter texts of the client's stand in any text by chance
)

// scrub takes out of a text what the client gave, and what looks like a secret.
func scrub(text string, given []string) string {
	if len(text) > 8*maxText {
		text = text[:8*maxText]
	}
	for _, g := range given {
		if len(g) >= worthwhile {
			text = strings.ReplaceAll(text, g, removed)
		}
	}
	for _, p := range patterns {
		text = p.ReplaceAllString(text, removed)
	}
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}
