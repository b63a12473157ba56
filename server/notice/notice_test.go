package notice

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

var sample = Notice{At: time.Unix(1_800_000_000, 0), Service: "shop", Kind: "incident.opened",
	Subject: "P0 incident\r\nBcc: everybody@example.com", Text: "service down\nroll back: covetctl rollback", Fields: map[string]string{"severity": "P0"}}

// sink is a mail server that takes everything.
func sink(t *testing.T) (port int, mails <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	out := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go converse(c, out)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, out
}

// converse is the server's side of RFC 5321.
func converse(c net.Conn, out chan<- string) {
	defer func() { _ = c.Close() }()
	r := textproto.NewReader(bufio.NewReader(c))
	say := func(s string) { _, _ = io.WriteString(c, s+"\r\n") }
	say("220 sink ESMTP")
	var envelope []string
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.Fields(line + " x")[0]); verb {
		case "EHLO":
			say("250 sink")
		case "DATA":
			say("354 go on")
			lines, err := r.ReadDotLines()
			if err != nil {
				return
			}
			out <- strings.Join(append(envelope, lines...), "\n")
			say("250 taken")
		case "QUIT":
			return // without a word: the mail has been taken all the same
		default:
			envelope = append(envelope, line)
			say("250 ok")
		}
	}
}

func TestMail(t *testing.T) {
	port, mails := sink(t)
	m := Mail{Host: "127.0.0.1", Port: port, From: "Covet <covet@shop.example>", To: []string{"oncall@shop.example", "lead@shop.example"}}
	if err := m.Send(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	got := <-mails
	for _, want := range []string{"RCPT TO:<oncall@shop.example>", "RCPT TO:<lead@shop.example>", "Subject: P0 incident Bcc: everybody@example.com", "service down", "covetctl rollback"} {
		if !strings.Contains(got, want) {
			t.Errorf("the mail lacks %q:\n%s", want, got)
		}
	}
	if err := m.Send(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	if id := "Message-ID: <" + sample.ID() + "@shop.example>"; !strings.Contains(got, id) || !strings.Contains(<-mails, id) {
		t.Errorf("want %s each time that the mail is sent:\n%s", id, got)
	}
	if strings.Contains(got, "\nBcc:") {
		t.Errorf("a subject became a header:\n%s", got)
	}
	m.User, m.Password = "shop", "secret"
	if err := m.Send(t.Context(), sample); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a password to a server without TLS: %v", err)
	}
	m.Port, m.User = 1, ""
	if err := m.Send(t.Context(), sample); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestWebhook(t *testing.T) {
	status := http.StatusNoContent
	type request struct {
		body, signature, delivery string
	}
	got := make(chan request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- request{string(body), r.Header.Get(SignatureHeader), r.Header.Get(DeliveryHeader)}
		w.WriteHeader(status)
	}))
	defer s.Close()
	h := Webhook{URL: s.URL + "/token", Secret: "key", Client: s.Client()}
	if err := h.Send(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	r := <-got
	var n Notice
	if err := json.Unmarshal([]byte(r.body), &n); err != nil || n.ID() != r.delivery || n.Kind != sample.Kind || n.Fields["severity"] != "P0" {
		t.Errorf("posted %s, %v", r.body, err)
	}
	var seconds int64
	if _, err := fmt.Sscanf(r.signature, "t=%d,", &seconds); err != nil || Sign("key", time.Unix(seconds, 0), []byte(r.body)) != r.signature {
		t.Errorf("signature %q, %v", r.signature, err)
	}
	status = http.StatusInternalServerError
	if err := h.Send(t.Context(), sample); err == nil || strings.Contains(err.Error(), "token") {
		t.Errorf("a webhook that fails: %v", err)
	}
	<-got
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Send(ctx, sample); err == nil || strings.Contains(err.Error(), "token") {
		t.Errorf("a webhook that is not reached: %v", err)
	}
}
