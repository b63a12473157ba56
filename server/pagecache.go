package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/cache"
)

// PageOptions say how answers are kept by [Server.CachePages].
type PageOptions struct {
	TTL  time.Duration // where the answer does not say: Cache-Control and Expires win
	Vary []string      // request headers that the answer depends on; one that varies by others is not kept
	Tags func(r *http.Request) []string
}

// CachePages is middleware that keeps the answers to GET and HEAD as a shared cache may (RFC 9111): never one to a request
// with Authorization or of a known user, nor one that sets a cookie or says private, no-store or no-cache; one to a
// request with cookies only where the answer says public or s-maxage. Releases (Config.Version) do not share pages. Of many who ask for the same at once, one runs the
// handler. Cache-Status (RFC 9211) says where an answer comes from.
func (s *Server) CachePages(o PageOptions) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !mayAskCache(r) {
				next.ServeHTTP(w, r)
				return
			}
			servePage(s.cache, s.cfg.Version, o, w, r, next)
		})
	}
}

// mayAskCache says whether a stored answer could be the answer to a request.
func mayAskCache(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	directives := cacheControl(r.Header)
	_, noStore := directives["no-store"]
	_, noCache := directives["no-cache"]
	return r.Header["Authorization"] == nil && r.Header["Range"] == nil && auth.PrincipalFrom(r.Context()) == nil && !noStore && !noCache
}

// errNotKept tells those who wait for another's answer that it is for him alone.
var errNotKept = errors.New("the answer is not to be kept")

func servePage(c *cache.Cache, version string, o PageOptions, w http.ResponseWriter, r *http.Request, next http.Handler) {
	key, asks := pageKey(version, r, o.Vary), requestDirectives(r.Header)
	var mine *recorder // where this request is the one that ran the handler
	var panicked any
	var stack []byte
	// The handler uses the request, which must not be given back while it does: who runs it waits for it.
	text, err := c.Bytes(context.WithoutCancel(r.Context()), key, func(context.Context) (page []byte, kept cache.Options, err error) {
		if asks.onlyIfCached {
			return nil, cache.Options{}, errNotKept
		}
		mine = &recorder{ResponseWriter: w, header: maps.Clone(w.Header()), before: w.Header()}
		defer func() {
			if panicked = recover(); panicked != nil {
				stack = debug.Stack()
				err = errNotKept
			}
		}()
		next.ServeHTTP(mine, r)
		ttl := mine.lifetime(r, o)
		if ttl <= 0 || r.Method == http.MethodHead { // which may have made no body
			return nil, cache.Options{}, errNotKept
		}
		var tags []string
		if o.Tags != nil {
			tags = o.Tags(r)
		}
		return mine.encode(time.Now()), cache.Options{TTL: ttl, Tags: tags}, nil
	})
	switch {
	case panicked != nil:
		panic(whole(panicked, stack)) // here, where the runtime recovers it
	case mine != nil:
		mine.send("covet; fwd=miss")
	case err == nil && writeStored(w, text, asks.maxAge):
	case asks.onlyIfCached:
		writeProblem(w, r, http.StatusGatewayTimeout, "nothing is kept that the request would take: it says only-if-cached")
	default:
		next.ServeHTTP(w, r)
	}
}

// whole is a panic with the place that it came from, or the one that only ends a connection.
func whole(v any, stack []byte) any {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return v
	}
	return fmt.Sprintf("%v\n%s", v, stack)
}

// pageRequest is what a request says of the stored answers that it takes (RFC 9111, 5.2.1).
type pageRequest struct {
	maxAge       time.Duration // the oldest
	onlyIfCached bool
}

func requestDirectives(h http.Header) pageRequest {
	out := pageRequest{maxAge: maxAge * time.Second}
	if h["Cache-Control"] == nil {
		return out
	}
	d := cacheControl(h)
	_, out.onlyIfCached = d["only-if-cached"]
	if text, ok := d["max-age"]; ok {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 0 {
			seconds = 0
		}
		out.maxAge = time.Duration(min(seconds, maxAge)) * time.Second
	}
	return out
}

// pageKey names what is asked for. HEAD is answered from what GET left.
func pageKey(version string, r *http.Request, vary []string) string {
	var b strings.Builder
	b.WriteString("page:" + version + " " + r.Host + r.URL.RequestURI())
	for _, name := range vary {
		b.WriteString("\n" + strings.Join(r.Header.Values(name), ","))
	}
	return b.String()
}

// recorder holds an answer. One that is flushed or too long for the cache goes out as it comes.
type recorder struct {
	http.ResponseWriter
	header  http.Header // the answer's
	before  http.Header // the real one
	status  int
	body    bytes.Buffer
	through bool
}

// maxPage is the longest body that is kept.
const maxPage = 2 << 20

func (p *recorder) Header() http.Header { return p.header }

func (p *recorder) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *recorder) WriteHeader(status int) {
	if p.status == 0 && status >= 200 {
		p.status = status
	}
}

func (p *recorder) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	if !p.through && p.body.Len()+len(b) > maxPage {
		p.letThrough()
	}
	if p.through {
		return p.ResponseWriter.Write(b)
	}
	return p.body.Write(b)
}

// FlushError ends the holding back.
func (p *recorder) FlushError() error {
	p.WriteHeader(http.StatusOK)
	p.letThrough()
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// Flush ends the holding back. The next Write has the error that it cannot return.
func (p *recorder) Flush() { _ = p.FlushError() }

func (p *recorder) letThrough() {
	if p.through {
		return
	}
	p.send("covet; fwd=bypass")
	p.through = true
}

// send gives the answer to the client who waits.
func (p *recorder) send(status string) {
	if p.through {
		return
	}
	maps.Copy(p.before, p.header)
	p.before["Cache-Status"] = []string{status}
	p.ResponseWriter.WriteHeader(cmpStatus(p.status))
	_, _ = p.ResponseWriter.Write(p.body.Bytes()) // the client may have gone
}

func cmpStatus(status int) int {
	if status == 0 {
		return http.StatusOK
	}
	return status
}

// cacheable are the statuses that may be kept (RFC 9110, 15.1), of those an application means.
var cacheable = []int{http.StatusOK, http.StatusMovedPermanently, http.StatusPermanentRedirect, http.StatusNotFound, http.StatusGone}

// lifetime is how long a shared cache may keep the answer, 0 for not at all.
func (p *recorder) lifetime(r *http.Request, o PageOptions) time.Duration {
	h := p.header
	if p.through || !slices.Contains(cacheable, cmpStatus(p.status)) || h["Set-Cookie"] != nil || !variesOnlyBy(h, o.Vary) {
		return 0
	}
	d := cacheControl(h)
	for _, forbids := range []string{"no-store", "no-cache", "private"} {
		if _, ok := d[forbids]; ok {
			return 0
		}
	}
	_, public := d["public"]
	_, shared := d["s-maxage"]
	if r.Header["Cookie"] != nil && !public && !shared {
		return 0
	}
	for _, name := range []string{"s-maxage", "max-age"} {
		if text, ok := d[name]; ok {
			seconds, err := strconv.Atoi(text)
			if err != nil || seconds < 0 {
				return 0 // RFC 9111, 4.2.1: what cannot be read is stale
			}
			return time.Duration(min(seconds, maxAge)) * time.Second
		}
	}
	if text := h.Get("Expires"); text != "" {
		at, err := http.ParseTime(text)
		if err != nil {
			return 0
		}
		return time.Until(at)
	}
	return o.TTL
}

// maxAge is the longest that an answer is kept, a year in seconds.
const maxAge = 365 * 24 * 3600

// variesOnlyBy says whether an answer depends on no other request headers than those it is kept by. What the runtime itself
// varies by is added afterwards.
func variesOnlyBy(h http.Header, by []string) bool {
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			known := strings.EqualFold(name, "Accept-Encoding") || slices.ContainsFunc(by, func(b string) bool { return strings.EqualFold(b, name) })
			if name != "" && !known {
				return false
			}
		}
	}
	return true
}

// cacheControl reads the directives of Cache-Control (RFC 9111, 5.2), their names in lower case.
func cacheControl(h http.Header) map[string]string {
	out := map[string]string{}
	for _, line := range h["Cache-Control"] {
		for part := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			if name != "" {
				out[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
	}
	return out
}

// storedPage is the head of an answer as it is kept; the body follows it.
type storedPage struct {
	Status int         `json:"s"`
	Header http.Header `json:"h"`
	At     time.Time   `json:"a"`
}

// hopHeaders are of one answer alone, and never kept.
var hopHeaders = []string{headerRequestID, "Connection", "Date", "Ratelimit", "Ratelimit-Policy", "Cache-Status", "Content-Length", consistencyHeader}

func (p *recorder) encode(now time.Time) []byte {
	h := http.Header{}
	for name, values := range p.header {
		if !slices.Contains(hopHeaders, name) && !slices.Equal(values, p.before[name]) {
			h[name] = values // what was there before the handler ran is of this request
		}
	}
	head, err := json.Marshal(storedPage{Status: cmpStatus(p.status), Header: h, At: now})
	if err != nil {
		panic("a page's head is plain data: " + err.Error())
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(head)+p.body.Len()), uint32(len(head)))
	return append(append(out, head...), p.body.Bytes()...)
}

func decodePage(text []byte) (head storedPage, body []byte, ok bool) {
	if len(text) < 4 {
		return head, nil, false
	}
	n := int(binary.BigEndian.Uint32(text))
	if n < 0 || n > len(text)-4 || json.Unmarshal(text[4:4+n], &head) != nil || head.Status < 200 || head.Status > 599 {
		return head, nil, false
	}
	return head, text[4+n:], true
}

// writeStored answers from what is kept. It returns false where that cannot be read, or is too old for the request. What
// lies below leaves the body out for HEAD, and needs it for the ETag.
func writeStored(w http.ResponseWriter, text []byte, oldest time.Duration) bool {
	head, body, ok := decodePage(text)
	age := max(0, time.Since(head.At))
	if !ok || age > oldest {
		return false
	}
	h := w.Header()
	maps.Copy(h, head.Header)
	h["Age"] = []string{strconv.Itoa(int(age / time.Second))}
	h["Cache-Status"] = []string{"covet; hit"}
	w.WriteHeader(head.Status)
	_, _ = w.Write(body) // the client may have gone
	return true
}
