package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// What is encoded: answers shorter than minEncoded stay as they are, since they do not get smaller; those longer than
// maxTagged are sent as they come, without an ETag.
const (
	minEncoded = 1 << 10
	maxTagged  = 256 << 10
)

// encoder is a ResponseWriter that holds an answer back until it is whole, to give it an ETag, to answer that the client
// has it already, and to send it compressed. One that is flushed or long is sent as it comes.
type encoder struct {
	http.ResponseWriter
	request  *http.Request
	buf      []byte
	status   int  // 0 until the handler has said it
	streamed bool // what is written goes out at once
	gz       *gzip.Writer
	packed   *packed // what was compressed before
	sum      [sha256.Size]byte
	summed   bool // sum is that of the whole answer
}

var encoders = sync.Pool{New: func() any { return &encoder{buf: make([]byte, 0, 4<<10)} }}

var gzipWriters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed+2)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// encoded runs next with its answer held back.
func encoded(w http.ResponseWriter, r *http.Request, known *packed, next http.Handler) {
	e := encoders.Get().(*encoder)
	e.ResponseWriter, e.request, e.packed = w, r, known
	defer e.release() // also of a panic, which sends nothing: the recovery answers
	next.ServeHTTP(e, r)
	e.finish()
}

func (e *encoder) release() {
	if e.gz != nil {
		e.gz.Reset(io.Discard)
		gzipWriters.Put(e.gz)
	}
	buf := e.buf[:0]
	if cap(buf) > 64<<10 {
		buf = make([]byte, 0, 4<<10)
	}
	*e = encoder{buf: buf}
	encoders.Put(e)
}

// Unwrap gives http.ResponseController the writer below.
func (e *encoder) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// unencoded is the writer below, for a handler whose answers are to go out as they are: a proxy's, or files.
func unencoded(w http.ResponseWriter) http.ResponseWriter {
	if e, ok := w.(*encoder); ok {
		e.streamed = true
		return e.ResponseWriter
	}
	return w
}

// WriteHeader notes the status. Answers without a body, and those of another kind, go out at once.
func (e *encoder) WriteHeader(status int) {
	if status >= 100 && status < 200 {
		e.ResponseWriter.WriteHeader(status)
		return
	}
	if e.status != 0 || e.streamed {
		e.ResponseWriter.WriteHeader(status) // net/http logs the superfluous call
		return
	}
	e.status = status
	if status == http.StatusNoContent || status == http.StatusNotModified || status == http.StatusPartialContent {
		_ = e.stream() // nothing is held back yet that could fail to be sent
	}
}

// Write holds a part of the body back, or sends it.
func (e *encoder) Write(p []byte) (int, error) {
	if e.status == 0 && !e.streamed {
		e.WriteHeader(http.StatusOK)
	}
	if !e.streamed && len(e.buf)+len(p) > maxTagged {
		if err := e.stream(); err != nil {
			return 0, err
		}
	}
	if !e.streamed {
		e.buf = append(e.buf, p...)
		return len(p), nil
	}
	if e.gz != nil {
		return e.gz.Write(p)
	}
	return e.ResponseWriter.Write(p)
}

// stream sends what is held back, and lets the rest follow as it comes.
func (e *encoder) stream() error {
	if e.streamed {
		return nil
	}
	e.streamed = true
	h := e.Header()
	e.sniff(h)
	if e.mayCompress(h) {
		vary(h, "Accept-Encoding")
		if acceptsGzip(e.request.Header) {
			e.compress(h)
		}
	}
	if e.status != 0 {
		e.ResponseWriter.WriteHeader(e.status)
	}
	if len(e.buf) == 0 {
		return nil
	}
	held := e.buf
	e.buf = e.buf[:0]
	var err error
	if e.gz != nil {
		_, err = e.gz.Write(held)
	} else {
		_, err = e.ResponseWriter.Write(held)
	}
	return err
}

// FlushError sends everything so far.
func (e *encoder) FlushError() error {
	if e.status == 0 && !e.streamed {
		e.status = http.StatusOK
	}
	if err := e.stream(); err != nil {
		return err
	}
	if e.gz != nil {
		if err := e.gz.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(e.ResponseWriter).Flush()
}

// Flush sends everything so far. The next Write has the error that it cannot return.
func (e *encoder) Flush() { _ = e.FlushError() }

// finish sends an answer that is whole.
func (e *encoder) finish() {
	if e.streamed {
		if e.gz != nil {
			_ = e.gz.Close() // the connection is gone where this fails, and net/http knows
		}
		return
	}
	if e.status == 0 {
		return // hijacked, or nothing was written: the writer below says 200
	}
	h := e.Header()
	e.sniff(h)
	compressible := len(e.buf) >= minEncoded && e.mayCompress(h)
	if compressible {
		vary(h, "Accept-Encoding")
	}
	compress := compressible && acceptsGzip(e.request.Header)
	if e.tag(h, compress) && matches(e.request.Header["If-None-Match"], h.Get("Etag")) {
		h.Del("Content-Type")
		h.Del("Content-Length")
		e.ResponseWriter.WriteHeader(http.StatusNotModified)
		return
	}
	if compress && e.summed {
		e.sendPacked(h)
		return
	}
	if compress {
		e.compress(h)
	} else if h["Content-Length"] == nil && e.request.Method != http.MethodHead {
		h["Content-Length"] = []string{strconv.Itoa(len(e.buf))}
	}
	e.ResponseWriter.WriteHeader(e.status)
	if e.gz == nil {
		_, _ = e.ResponseWriter.Write(e.buf)
		return
	}
	if e.request.Method != http.MethodHead {
		_, _ = e.gz.Write(e.buf)
		_ = e.gz.Close()
	}
}

// forms are where answers are compressed as a whole.
var forms = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// sendPacked sends an answer that is whole in its compressed form, with its length.
func (e *encoder) sendPacked(h http.Header) {
	form := e.packed.get(e.sum)
	if form == nil {
		buf := forms.Get().(*bytes.Buffer)
		defer forms.Put(buf)
		buf.Reset()
		gz := gzipWriters.Get().(*gzip.Writer)
		gz.Reset(buf)
		_, _ = gz.Write(e.buf) // into memory, which does not fail
		_ = gz.Close()
		gz.Reset(io.Discard)
		gzipWriters.Put(gz)
		form = buf.Bytes()
		e.packed.put(e.sum, form)
	}
	h["Content-Encoding"] = []string{"gzip"}
	h["Content-Length"] = []string{strconv.Itoa(len(form))}
	e.ResponseWriter.WriteHeader(e.status)
	if e.request.Method != http.MethodHead {
		_, _ = e.ResponseWriter.Write(form) // a client that has gone is nobody's fault
	}
}

// sniff says what the body is, as net/http would of the plain one.
func (e *encoder) sniff(h http.Header) {
	if _, ok := h["Content-Type"]; !ok && len(e.buf) > 0 && h["Content-Encoding"] == nil {
		h["Content-Type"] = []string{http.DetectContentType(e.buf)}
	}
}

// tag gives a good answer an ETag, unless it has one or must not be stored, and says whether there is one to compare.
// The compressed form of an answer is another representation, and so has another (RFC 9110, 8.8.3.3).
func (e *encoder) tag(h http.Header, compress bool) bool {
	if e.status != http.StatusOK || (e.request.Method != http.MethodGet && e.request.Method != http.MethodHead) {
		return false
	}
	tag := h.Get("Etag")
	switch {
	case tag == "" && (len(e.buf) == 0 || strings.Contains(h.Get("Cache-Control"), "no-store")):
		return false
	case tag == "":
		e.sum, e.summed = sha256.Sum256(e.buf), true
		tag = `"` + hex.EncodeToString(e.sum[:12]) + `"`
	}
	if compress && !strings.HasPrefix(tag, "W/") {
		tag = strings.TrimSuffix(tag, `"`) + `-gzip"`
	}
	h["Etag"] = []string{tag}
	return true
}

// mayCompress says whether this kind of answer gets smaller, and may be changed on the way.
func (e *encoder) mayCompress(h http.Header) bool {
	return h["Content-Encoding"] == nil && h["Content-Range"] == nil && h["Accept-Ranges"] == nil && e.status != http.StatusNoContent &&
		e.status != http.StatusNotModified && compressibleType(h.Get("Content-Type")) && !strings.Contains(h.Get("Cache-Control"), "no-transform")
}

func (e *encoder) compress(h http.Header) {
	h["Content-Encoding"] = []string{"gzip"}
	h.Del("Content-Length")
	e.gz = gzipWriters.Get().(*gzip.Writer)
	e.gz.Reset(e.ResponseWriter)
}

// compressibleType says whether bodies of a media type are worth it: text, not pictures, and not event streams, whose
// events must not wait in a compressor.
func compressibleType(kind string) bool {
	kind, _, _ = strings.Cut(kind, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch kind {
	case "text/event-stream":
		return false
	case "application/json", "application/javascript", "application/xml", "application/wasm", "image/svg+xml", "application/problem+json":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml")
}

// acceptsGzip reads Accept-Encoding (RFC 9110, 12.5.3): gzip or *, unless with a weight of nothing.
func acceptsGzip(h http.Header) bool {
	star := false
	for _, line := range h["Accept-Encoding"] {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			name = strings.TrimSpace(name)
			switch {
			case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
				return weight(params) > 0
			case name == "*":
				star = weight(params) > 0
			}
		}
	}
	return star
}

// weight reads q=… of a header's item; without one it is 1.
func weight(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0
			}
			return q
		}
	}
	return 1
}

// matches says whether If-None-Match has the tag, by the weak comparison (RFC 9110, 13.1.2).
func matches(lines []string, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			part = strings.TrimSpace(part)
			if part == "*" || strings.TrimPrefix(part, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// vary adds a name to Vary, once.
func vary(h http.Header, name string) {
	for _, line := range h["Vary"] {
		for part := range strings.SplitSeq(line, ",") {
			if part = strings.TrimSpace(part); part == "*" || strings.EqualFold(part, name) {
				return
			}
		}
	}
	h["Vary"] = append(h["Vary"], name)
}
