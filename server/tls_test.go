package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/covetpy/covet/server/certs/certstest"
	"github.com/covetpy/covet/server/config"
)

// startSecure runs the test service over TLS.
func startSecure(t *testing.T, env ...string) (s *service, dir string) {
	t.Helper()
	dir = t.TempDir()
	cert, key := certstest.Write(t, dir, time.Now().Add(365*24*time.Hour))
	s = startService(t, append(env, "TLS_CERT_FILE="+cert, "TLS_KEY_FILE="+key)...)
	s.awaitLog(`"message":"ready"`)
	return s, dir
}

// secureClient is a client with connections of its own, of HTTP/2 or HTTP/1.1.
func secureClient(http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	return &http.Client{Transport: &http.Transport{Protocols: protocols,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// startSecureLoad sends requests over HTTP/1.1 connections of one client each, and over HTTP/2 connections that clients
// share, until it is stopped.
func startSecureLoad(t *testing.T, addr string) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel, pids: map[string]int{}}
	shared := secureClient(true)
	for i := range 4 {
		own := secureClient(false)
		l.wg.Go(func() {
			// A body that cannot be rewound keeps net/http from asking again on another connection.
			l.ask(ctx, own, "https://"+addr, i, func() io.Reader { return io.NopCloser(strings.NewReader("x")) })
		})
		l.wg.Go(func() { l.ask(ctx, shared, "https://"+addr, i, func() io.Reader { return nil }) })
	}
	return l
}

func TestTLSHandOverUnderLoadFailsNothing(t *testing.T) {
	t.Parallel()
	s, _ := startSecure(t, "HANDOVER_DRAIN=1m")
	traffic := startSecureLoad(t, s.addr)
	s.await("traffic", func() bool { return traffic.served(s.cmd.Process.Pid) > 100 })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, "wss://"+s.addr+"/ws", &websocket.DialOptions{HTTPClient: secureClient(false)})
	if err != nil {
		t.Fatal(err)
	}
	downloads := make(chan error, 2)
	for _, http2 := range []bool{false, true} {
		go func() {
			downloads <- downloadAll(secureClient(http2), "https://"+s.addr+"/download?n=1500", 1500*1024)
		}()
	}
	s.signal(syscall.SIGUSR2)
	s.await("the new process to serve", func() bool { return s.successor() != 0 && traffic.served(s.successor()) > 100 })
	if _, _, err := socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v, want 1001", err)
	}
	for range 2 {
		if err := <-downloads; err != nil {
			t.Errorf("a download that spans the hand-over: %v", err)
		}
	}
	if code := s.exitCode(); code != 0 {
		t.Errorf("the old process exits with %d", code)
	}
	traffic.end(t)
	if strings.Contains(s.log.String(), "cut a request") || strings.Contains(s.log.String(), "cut connections") {
		t.Error("something was cut")
	}
	endSuccessor(s)
}

func downloadAll(c *http.Client, url string, size int64) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if n != size {
		return errors.Join(err, fmt.Errorf("%d bytes of %d", n, size))
	}
	return errors.Join(err, resp.Body.Close())
}

// Once the listener is closed a new connection is refused. Nothing else may happen to a client.
func TestTLSDrainUnderLoadRefusesAndBreaksNothing(t *testing.T) {
	t.Parallel()
	s, _ := startSecure(t)
	traffic := startSecureLoad(t, s.addr)
	traffic.tolerate = func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
	s.await("traffic", func() bool { return traffic.served(s.cmd.Process.Pid) > 100 })
	slow := make(chan string, 1)
	idle := secureClient(true)
	if _, err := getBody(idle, "https://"+s.addr+"/pid"); err != nil {
		t.Fatal(err)
	}
	go func() {
		body, err := getBody(secureClient(true), "https://"+s.addr+"/slow?d=900ms")
		slow <- fmt.Sprint(body, err)
	}()
	s.await("the slow request", func() bool {
		body, err := getBody(idle, "https://"+s.addr+"/metrics")
		return err == nil && strings.Contains(body, `covetpy_active_connections 7`)
	})
	s.signal(syscall.SIGTERM)
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if got := <-slow; got != "done<nil>" {
		t.Errorf("the stream in flight got %s", got)
	}
	traffic.end(t)
	if strings.Contains(s.log.String(), "cut a request") || strings.Contains(s.log.String(), "cut connections") {
		t.Error("something was cut")
	}
}

func TestTLSReloadUnderLoadFailsNothing(t *testing.T) {
	t.Parallel()
	s, dir := startSecure(t)
	traffic := startSecureLoad(t, s.addr)
	kept := secureClient(true)
	if _, err := getBody(kept, "https://"+s.addr+"/pid"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		cert, _ := certstest.Write(t, dir, time.Now().Add(365*24*time.Hour))
		pool := x509.NewCertPool()
		text, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		pool.AppendCertsFromPEM(text)
		s.signal(syscall.SIGHUP)
		s.await("the new certificate", func() bool {
			c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
			defer c.CloseIdleConnections()
			_, err := getBody(c, "https://"+s.addr+"/pid")
			return err == nil
		})
	}
	if _, err := getBody(kept, "https://"+s.addr+"/pid"); err != nil {
		t.Errorf("a connection from before: %v", err)
	}
	traffic.end(t)
	if n := strings.Count(s.log.String(), `"message":"certificate loaded"`); n != 4 {
		t.Errorf("%d certificates were loaded, want 4", n)
	}
	s.signal(syscall.SIGTERM)
	s.exitCode()
}

func TestTLSVersionsProtocolsAndHeaders(t *testing.T) {
	t.Parallel()
	s, _ := startSecure(t)
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if c, err := tls.Dial("tcp", s.addr, old); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 is accepted")
	}
	for _, http2 := range []bool{false, true} {
		resp, err := secureClient(http2).Get("https://" + s.addr + "/pid")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if (resp.ProtoMajor == 2) != http2 {
			t.Errorf("asked for HTTP/2: %v, got %s", http2, resp.Proto)
		}
		if hsts := resp.Header.Get("Strict-Transport-Security"); !strings.Contains(hsts, "preload") {
			t.Errorf("Strict-Transport-Security: %q", hsts)
		}
	}
	// A body that is too large ends the stream, not the connection with everybody else's streams.
	c := secureClient(true)
	for range 2 {
		resp, err := c.Post("https://"+s.addr+"/pid", "text/plain", io.LimitReader(zeros{}, 11<<20))
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	if _, err := getBody(c, "https://"+s.addr+"/pid"); err != nil {
		t.Error(err)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTLSSettings(t *testing.T) {
	t.Parallel()
	cert, key := certstest.Write(t, t.TempDir(), time.Now().Add(time.Hour))
	_, otherKey := certstest.Write(t, t.TempDir(), time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		env  []string
		says string
	}{
		"certificate alone": {[]string{"TLS_CERT_FILE=" + cert}, "TLS_KEY_FILE: is missing beside TLS_CERT_FILE"},
		"key alone":         {[]string{"TLS_KEY_FILE=" + key}, "TLS_CERT_FILE: is missing beside TLS_KEY_FILE"},
		"no file":           {[]string{"TLS_CERT_FILE=" + cert + ".gone", "TLS_KEY_FILE=" + key}, "no such file"},
		"other key":         {[]string{"TLS_CERT_FILE=" + cert, "TLS_KEY_FILE=" + otherKey}, "private key does not match"},
	} {
		if _, _, err := config.Load(config.Sources{Environ: c.env}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := config.Load(config.Sources{Environ: []string{"TLS_CERT_FILE=" + cert, "TLS_KEY_FILE=" + key}}); err != nil {
		t.Error(err)
	}
}
