package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

func TestParseHead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		head, method string
		framing      framing
		length       int64
		keep         bool
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 5", "GET", byLength, 5, true},
		{"HTTP/1.1 200 OK\r\ncontent-length:  5 ", "GET", byLength, 5, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", "GET", byLength, 5, true},
		{"HTTP/1.1 200\r\nContent-Length: 0", "GET", byLength, 0, true},
		{"HTTP/1.1 200 \r\nTransfer-Encoding: Chunked", "GET", byChunks, -1, true},
		{"HTTP/1.1 200 OK", "GET", byClose, -1, false},
		{"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 1", "GET", byLength, 1, false},
		{"HTTP/1.0 200 OK\r\nContent-Length: 1", "GET", byLength, 1, false},
		{"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive", "GET", byLength, 1, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5", "HEAD", noBody, 5, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "HEAD", noBody, -1, true},
		{"HTTP/1.1 200 OK", "HEAD", noBody, -1, true},
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5", "GET", noBody, 5, true},
		{"HTTP/1.1 204 No Content", "GET", noBody, -1, true},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 0", "GET", noBody, -1, true},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 5", "GET", noBody, -1, false},
		{"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked", "GET", noBody, -1, false},
		{"HTTP/1.1 103 Early Hints\r\nLink: </a>", "GET", noBody, -1, true},
		{"HTTP/1.1 200 OK\r\nX-A: \xc3\xa4\tb\r\nX-B:", "GET", byClose, -1, false},
	} {
		r, err := parseHead(c.head, c.method, nil)
		if err != nil {
			t.Errorf("%s %q: %v", c.method, c.head, err)
			continue
		}
		if r.framing != c.framing || r.length != c.length || r.keepAlive != c.keep {
			t.Errorf("%s %q: framing %d, length %d, keep %v", c.method, c.head, r.framing, r.length, r.keepAlive)
		}
	}
}

// badHeads must never be passed on: each is a way to make two readers see different messages, or no HTTP at all.
var badHeads = []string{
	"",
	"HTTP/1.1 20 OK",
	"HTTP/1.1 2000 OK",
	"HTTP/1.1 099 Low",
	"HTTP/1.1 200OK",
	"HTTP/1.1  200 OK",
	"HTTP/2.0 200 OK",
	"HTTP/1.2 200 OK",
	"HTTP/1.1\t200 OK",
	"HTTP/1.1 200 O\x00K",
	"ICY 200 OK",
	" HTTP/1.1 200 OK",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
	"HTTP/1.1 200 OK\r\nContent-Length: 5, 5",
	"HTTP/1.1 200 OK\r\nContent-Length: +5",
	"HTTP/1.1 200 OK\r\nContent-Length: -5",
	"HTTP/1.1 200 OK\r\nContent-Length: 0x5",
	"HTTP/1.1 200 OK\r\nContent-Length: 5 5",
	"HTTP/1.1 200 OK\r\nContent-Length:",
	"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding:",
	"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked",
	"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked",
	"HTTP/1.1 100 Continue\r\nContent-Length: 3",
	"HTTP/1.1 200 OK\r\nX-A: a\r\n folded",
	"HTTP/1.1 200 OK\r\nX-A: a\r\n\tfolded",
	"HTTP/1.1 200 OK\r\nno colon",
	"HTTP/1.1 200 OK\r\n: no name",
	"HTTP/1.1 200 OK\r\nX A: b",
	"HTTP/1.1 200 OK\r\nX-A: a\nX-B: b",
	"HTTP/1.1 200 OK\r\nX-A: a\rX-B: b",
	"HTTP/1.1 200 OK\r\nX-A: a\x00b",
	"HTTP/1.1 200 OK\r\n\xc3\xa4: b",
}

func TestParseHeadRefuses(t *testing.T) {
	t.Parallel()
	for _, head := range badHeads {
		if r, err := parseHead(head, "GET", nil); err == nil {
			t.Errorf("%q was taken for %+v", head, r)
		}
	}
}

func TestBadAnswersAre502(t *testing.T) {
	t.Parallel()
	heads := append(badHeads[1:], // of an empty head there is a test of its own
		"HTTP/1.1 200 OK\nContent-Length: 0\n",
		"SSH-2.0-OpenSSH_9.2",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x",
		strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInterim+1)+"HTTP/1.1 200 OK",
		"HTTP/1.1 200 OK\r\nX-Big: "+strings.Repeat("x", 64<<10))
	for _, head := range heads {
		f := newFront(t, Options{})
		f.rawWorker(t, "a", "v1", says(head+"\r\n\r\n"))
		r := f.get(t, "/")
		if r.StatusCode != http.StatusBadGateway || !strings.Contains(r.body, `"bad_answer"`) {
			t.Errorf("%.60q: the client got %d %.100q", head, r.StatusCode, r.body)
		}
		if s := f.instance(t, "a"); s.Failures.Malformed != 1 || s.Failures.Total() != 1 || s.Status != [6]uint64{} {
			t.Errorf("%.60q: counted as %+v and %v", head, s.Failures, s.Status)
		}
	}
}

// TestUnaskedAnswerIsNotTakenForTheNext sends a second answer behind the first: it must not reach another request.
func TestUnaskedAnswerIsNotTakenForTheNext(t *testing.T) {
	t.Parallel()
	const good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"
	for name, serve := range map[string]func(net.Conn, *bufio.Reader){
		"in one piece": says(good + poison),
		"later": func(c net.Conn, r *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				if _, err := io.WriteString(c, good); err != nil {
					return
				}
				_, _ = r.Peek(0)
				if _, err := io.WriteString(c, poison); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, Options{})
			f.rawWorker(t, "a", "v1", serve)
			for range 20 {
				r := f.get(t, "/")
				if r.body != "good" {
					t.Fatalf("got %q", r.body)
				}
				// The second answer is on its way by now; wait until the idle connection shows it.
				in := f.byID["a"]
				eventually(t, "the connection is found to be unfit", func() bool {
					in.pool.mu.Lock()
					defer in.pool.mu.Unlock()
					return len(in.pool.idle) == 0 || !in.pool.idle[0].quiet()
				})
			}
		})
	}
}

// bytesConn is a conn that reads a fixed text in pieces of a given size.
func bytesConn(text string, piece int) *conn {
	c := &conn{Conn: &pieceReader{text: text, piece: piece}, maxHead: 4 * maxSizeLine, own: make([]byte, 2*maxSizeLine)}
	c.buf, c.raw = c.own, noDescriptor{}
	return c
}

type noDescriptor struct{ syscall.RawConn }

func (noDescriptor) Control(func(uintptr)) error { return errors.ErrUnsupported }

type pieceReader struct {
	net.Conn
	text  string
	piece int
}

func (p *pieceReader) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.piece)], p.text)
	p.text = p.text[n:]
	return n, nil
}

// FuzzReadHead holds that a head means the same in whatever pieces it arrives, and that no accepted head could be read in
// another way by net/http.
func FuzzReadHead(f *testing.F) {
	for _, h := range badHeads {
		f.Add(h+"\r\n\r\n", 7)
	}
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\nhello", 3)
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n0\r\n\r\n", 1)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		whole, err1 := bytesConn(text, len(text)+1).readHead("GET")
		parts, err2 := bytesConn(text, max(piece%64, 1)).readHead("GET")
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("in one piece: %v; in several: %v", err1, err2)
		}
		if err1 != nil {
			return
		}
		if whole.status != parts.status || whole.framing != parts.framing || whole.length != parts.length || len(whole.fields) != len(parts.fields) {
			t.Fatalf("in one piece %+v, in several %+v", whole, parts)
		}
		theirs, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
		if err != nil {
			return // stricter than we are, which harms nobody
		}
		defer func() { _ = theirs.Body.Close() }()
		if theirs.StatusCode != whole.status {
			t.Errorf("status %d, net/http says %d", whole.status, theirs.StatusCode)
		}
		if whole.status == 204 {
			return // where net/http believes the coding; we do not use the connection again
		}
		if whole.framing == byLength && theirs.ContentLength != whole.length ||
			(whole.framing == byChunks) != (len(theirs.TransferEncoding) == 1) {
			t.Errorf("framing %d, length %d; net/http says %d, %v", whole.framing, whole.length, theirs.ContentLength, theirs.TransferEncoding)
		}
	})
}

func TestIncompleteHead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r"} {
		var bad *headError
		if _, err := bytesConn(text, 5).readHead("GET"); !errors.Is(err, io.EOF) || errors.As(err, &bad) {
			t.Errorf("%q: %v, want io.EOF", text, err)
		}
	}
}
