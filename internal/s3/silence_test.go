package s3_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/s3"
	"github.com/covetpy/covet/ops/backup"
	s3test "github.com/covetpy/covet/test/s3"
)

// swallow relays connections to a server. Of the first n, nothing more passes in either direction once so many bytes have,
// and nothing is closed: as where a network lets nothing through.
func swallow(t *testing.T, to string, n, after int64) (endpoint string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var conns atomic.Int64
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = client.Close() })
			server, err := net.Dial("tcp", strings.TrimPrefix(to, "http://"))
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = server.Close() })
			limit := int64(1) << 62
			if conns.Add(1) <= n {
				limit = after
			}
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() { _, _ = io.Copy(way[1], io.LimitReader(way[0], limit)) }()
			}
		}
	}()
	return "http://" + l.Addr().String()
}

func TestStoreOutlivesASilentNetwork(t *testing.T) {
	srv := s3test.Start(t)
	bucket := srv.Bucket(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // more than the buffers on the way hold
	for what, after := range map[string]int64{"of answers": 20_000, "from the beginning": 0} {
		t.Run(what, func(t *testing.T) {
			var told atomic.Int64
			o := s3.Options{Endpoint: swallow(t, srv.Endpoint, 2, after), Bucket: bucket, Prefix: strings.ReplaceAll(what, " ", "-"), Timeout: 500 * time.Millisecond,
				Retrying: func(err error) {
					told.Add(1)
					if !strings.Contains(err.Error(), "did not answer") {
						t.Errorf("the notice says %v", err)
					}
				}}
			s := open(t, o)
			if err := s.Put(t.Context(), "k", bytes.NewReader(data), backup.PutOptions{IfAbsent: true}); err != nil {
				t.Fatal(err)
			}
			o.Endpoint = swallow(t, srv.Endpoint, 2, after)
			s = open(t, o)
			got, err := backup.ReadAll(t.Context(), s, "k", 16<<20)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back: %v", len(got), err)
			}
			if told.Load() == 0 {
				t.Error("nobody was told")
			}
		})
	}
}

func TestStoreSaysWhoDidNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	var notices []string
	s := open(t, s3.Options{Endpoint: "http://" + addr, Bucket: "b", Attempts: 6, Retrying: func(err error) { notices = append(notices, err.Error()) }})
	_, err = s.Get(t.Context(), "k", 0, -1)
	var op *net.OpError
	if err == nil || !errors.As(err, &op) {
		t.Fatalf("%v is no error of the network", err)
	}
	for _, want := range []string{addr + " did not answer", "connection refused", "tried 6 times", "COVET_S3_ENDPOINT"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q doesn't say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "operation error") || len(notices) != 1 || !strings.Contains(notices[0], "connection refused") {
		t.Errorf("%v, notices %q", err, notices)
	}
}
