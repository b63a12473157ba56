package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/server/config"
)

// A connection that the kernel has taken after accepting was stopped is answered, not reset.
func TestLateConnectionsAreAnswered(t *testing.T) {
	t.Parallel()
	s, err := New(config.Config{}, WithLogOutput(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	sock, err := listenTCP(context.Background(), publicSocket, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.publishAddr(sock); err != nil {
		t.Fatal(err)
	}
	e := s.newEndpoint(sock, s, &s.conns, make(chan error, 1))
	if err := e.accept(); err != nil {
		t.Fatal(err)
	}
	e.stopAccepting(false)
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := e.closeSocket(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200 ") {
		t.Errorf("%q, %v", line, err)
	}
}
