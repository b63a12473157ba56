package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, c *http.Client, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://covetd"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	})
	return resp
}

func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("read a line: %v (after %q)", err, line)
	}
	return strings.TrimSpace(line)
}

func TestWatchBeginsAfterANumberAndFlushesEachItem(t *testing.T) {
	t.Parallel()
	next := make(chan int)
	socket, _ := serve(t, scripted{watch: func(ctx context.Context, after uint64) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			if !yield(map[string]uint64{"after": after}, nil) {
				return
			}
			for {
				select {
				case n := <-next:
					if !yield(n, nil) {
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}
	}}, quick)
	resp := open(t, client(t, socket), "/v1/watch?after=41")
	if got := resp.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("Content-Type %q", got)
	}
	r := bufio.NewReader(resp.Body)
	if got := readLine(t, r); got != `{"after":41}` {
		t.Errorf("first line %s", got)
	}
	next <- 7 // arrives although nothing follows it
	for line := readLine(t, r); line != "7"; line = readLine(t, r) {
		if !strings.HasPrefix(line, `{"heartbeat":"`) {
			t.Fatalf("line %s is neither the item nor a heartbeat", line)
		}
	}
	if line := readLine(t, r); !strings.HasPrefix(line, `{"heartbeat":"`) {
		t.Errorf("a quiet stream said %s instead of a heartbeat", line)
	}
}

func TestLogsEndWell(t *testing.T) {
	t.Parallel()
	socket, _ := serve(t, scripted{logs: func(_ context.Context, q url.Values) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			for _, word := range strings.Fields(q.Get("say")) {
				if !yield(word, nil) {
					return
				}
			}
		}
	}}, times{body: time.Second, write: time.Second, heartbeat: time.Hour, opening: time.Hour})
	for say, want := range map[string]string{"a+b": "\"a\"\n\"b\"\n", "": ""} {
		resp := open(t, client(t, socket), "/v1/logs?say="+say)
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != want || resp.StatusCode != http.StatusOK {
			t.Errorf("say %q: %d %q, %v; want 200 %q", say, resp.StatusCode, got, err, want)
		}
	}
}

func failing(before int) func(context.Context, url.Values) iter.Seq2[any, error] {
	return func(context.Context, url.Values) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			for i := range before {
				if !yield(i, nil) {
					return
				}
			}
			yield(nil, &codedError{"not_found", "no such release", "look again", 404})
		}
	}
}

func TestStreamErrors(t *testing.T) {
	t.Parallel()
	quiet := times{body: time.Second, write: time.Second, heartbeat: time.Hour, opening: time.Hour}
	socket, _ := serve(t, scripted{logs: failing(0)}, quiet)
	status, body := do(t, client(t, socket), "GET", "/v1/logs", "", nil)
	if want := `{"code":"not_found","message":"no such release","hint":"look again"}` + "\n"; status != 404 || body != want {
		t.Errorf("at once: %d %s, want 404 %s", status, body, want)
	}
	socket, _ = serve(t, scripted{logs: failing(1)}, quiet)
	status, body = do(t, client(t, socket), "GET", "/v1/logs", "", nil)
	if want := "0\n" + `{"error":{"code":"not_found","message":"no such release","hint":"look again"}}` + "\n"; status != 200 || body != want {
		t.Errorf("later: %d %s, want 200 %s", status, body, want)
	}
}

func TestStreamCrashIsTold(t *testing.T) {
	t.Parallel()
	socket, log := serve(t, scripted{watch: func(context.Context, uint64) iter.Seq2[any, error] {
		return func(func(any, error) bool) { panic("boom") }
	}}, times{body: time.Second, write: time.Second, heartbeat: time.Hour, opening: time.Hour})
	status, body := do(t, client(t, socket), "GET", "/v1/watch", "", nil)
	if status != 500 || !strings.Contains(body, `"code":"internal"`) {
		t.Errorf("%d %s, want 500 and the code internal", status, body)
	}
	if !strings.Contains(log.String(), "boom") {
		t.Errorf("the crash is not in the log: %s", log)
	}
}

func TestUnspeakableItemEndsTheStreamWithAnError(t *testing.T) {
	t.Parallel()
	socket, _ := serve(t, scripted{watch: func(context.Context, uint64) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			if yield(1, nil) {
				yield(func() {}, nil)
			}
		}
	}}, quick)
	_, body := do(t, client(t, socket), "GET", "/v1/watch", "", nil)
	if !strings.Contains(body, `{"error":{"code":"internal"`) {
		t.Errorf("the stream says %s, want an error line", body)
	}
}

// flood yields large items until its reader is cut off, and tells when it has returned.
func flood(returned chan<- struct{}) func(context.Context, uint64) iter.Seq2[any, error] {
	return func(ctx context.Context, _ uint64) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			defer close(returned)
			block := strings.Repeat("x", 64<<10)
			for ctx.Err() == nil {
				if !yield(block, nil) {
					return
				}
			}
		}
	}
}

func awaitReturn(t *testing.T, returned <-chan struct{}) {
	t.Helper()
	select {
	case <-returned:
	case <-time.After(10 * time.Second):
		t.Fatal("the backend's iterator still runs")
	}
}

func TestReaderThatNeverReadsIsCutOff(t *testing.T) {
	t.Parallel()
	returned := make(chan struct{})
	socket, _ := serve(t, scripted{watch: flood(returned)}, quick)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/watch HTTP/1.1\r\nHost: covetd\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	awaitReturn(t, returned)
	raw, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(string(raw), "\r\n0\r\n\r\n") {
		t.Error("the cut stream looks complete")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestPeerThatGoesEndsTheBackendsStream(t *testing.T) {
	t.Parallel()
	returned := make(chan struct{})
	socket, _ := serve(t, scripted{watch: func(ctx context.Context, _ uint64) iter.Seq2[any, error] {
		return func(func(any, error) bool) {
			defer close(returned)
			<-ctx.Done()
		}
	}}, quick)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://covetd/v1/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t, socket).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	awaitReturn(t, returned)
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("reading on: %v", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}
