package proxy

import (
	"bufio"
	"errors"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

// decode reads a chunked body and returns it with what is left after it.
func decode(text string, piece int) (body string, trailers []field, rest string, err error) {
	c := bytesConn(text, piece)
	k := chunks{c: c}
	var b strings.Builder
	for {
		data, err := k.next(func() error { return nil })
		if errors.Is(err, io.EOF) {
			return b.String(), k.trailers, string(c.buffered()), nil
		}
		if err != nil {
			return b.String(), nil, "", err
		}
		b.Write(data)
	}
}

func TestChunks(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789", 1000)
	for text, want := range map[string]string{
		"0\r\n\r\n":                              "",
		"5\r\nhello\r\n0\r\n\r\n":                "hello",
		"5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n":  "hello",
		"5 \r\nhello\r\n0\r\n\r\n":               "hello",
		"00000A\r\n0123456789\r\n000\r\n\r\n":    "0123456789",
		"1\r\na\r\n1\r\nb\r\n0\r\n\r\n":          "ab",
		"2710\r\n" + big + "\r\n0\r\n\r\n":       big,
		"4\r\n\r\n\r\n\r\n0\r\nX-Sum: 1\r\n\r\n": "\r\n\r\n",
	} {
		for _, piece := range []int{1, 2, 3, 100, 1 << 20} {
			body, _, rest, err := decode(text, piece)
			if err != nil || body != want || rest != "" {
				t.Errorf("%.30q in pieces of %d: %.30q, rest %q, %v", text, piece, body, rest, err)
			}
		}
	}
}

func TestChunksRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"\r\n\r\n", "g\r\n", "-1\r\n", "0x5\r\nhello\r\n0\r\n\r\n", " 5\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n",
		"5\r\nhello0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r\r0\r\n\r\n",
		"5 5\r\nhello\r\n0\r\n\r\n", "5;a\x00\r\nhello\r\n0\r\n\r\n", "1111111111111111\r\n", "ffffffffffffffff\r\n",
		"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n", "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
		"5;" + strings.Repeat("x", 5000) + "\r\nhello\r\n0\r\n\r\n",
		"0\r\n" + strings.Repeat("X: y\r\n", maxTrailers+1) + "\r\n",
	} {
		for _, piece := range []int{1, 1 << 20} {
			c := bytesConn(text, piece)
			k := chunks{c: c}
			var err error
			for err == nil {
				_, err = k.next(func() error { return nil })
			}
			var bad *headError
			if !errors.As(err, &bad) {
				t.Errorf("%.30q in pieces of %d: %v", text, piece, err)
			}
		}
	}
}

func TestChunksThatEndEarly(t *testing.T) {
	t.Parallel()
	const whole = "5;ext\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
	for n := range len(whole) {
		if _, _, _, err := decode(whole[:n], 3); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v, want io.ErrUnexpectedEOF", whole[:n], err)
		}
	}
}

func TestTrailersThatFrameOrRouteAreDropped(t *testing.T) {
	t.Parallel()
	_, trailers, _, err := decode("0\r\nContent-Length: 5\r\nX-Sum: 1\r\nTransfer-Encoding: chunked\r\nset-cookie: a=b\r\n\r\n", 9)
	if err != nil || len(trailers) != 1 || trailers[0] != (field{"X-Sum", "1"}) {
		t.Errorf("got %v, %v", trailers, err)
	}
}

// FuzzChunks holds that whatever is accepted is the same in whatever pieces it arrives, and the same body that net/http
// reads.
func FuzzChunks(f *testing.F) {
	f.Add("5\r\nhello\r\n0\r\n\r\n", 3)
	f.Add("5;ext=\"a\"\r\nhello\r\n0\r\nX: y\r\n\r\nrest", 1)
	f.Add("00a\r\n0123456789\r\n0\r\n\r\n", 7)
	f.Add("5\r\nhello!\r\n", 2)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		body, trailers, _, err := decode(text, len(text)+1)
		parts, trailers2, _, err2 := decode(text, max(piece%64, 1))
		if (err == nil) != (err2 == nil) || err == nil && (body != parts || len(trailers) != len(trailers2)) {
			t.Fatalf("in one piece %q, %v; in several %q, %v", body, err, parts, err2)
		}
		if err != nil {
			return
		}
		theirs, terr := io.ReadAll(httputil.NewChunkedReader(bufio.NewReader(strings.NewReader(text))))
		if terr == nil && string(theirs) != body {
			t.Errorf("got %q, net/http reads %q", body, theirs)
		}
	})
}
