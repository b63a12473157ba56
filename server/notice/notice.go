// Package notice tells people what happened: by mail, and by a webhook.
package notice

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// Notice is one thing that happened.
type Notice struct {
	At      time.Time         `json:"at"`
	Service string            `json:"service"`
	Kind    string            `json:"kind"`    // what happened: incident.opened
	Subject string            `json:"subject"` // one line
	Text    string            `json:"text"`
	Fields  map[string]string `json:"fields,omitempty"`
}

// ID tells a notice from all others, and is the same each time that it is sent: 32 hexadecimal digits.
func (n Notice) ID() string {
	sum := sha256.Sum256([]byte(n.At.UTC().Format(time.RFC3339Nano) + "\x00" + n.Service + "\x00" + n.Kind + "\x00" + n.Subject + "\x00" + n.Text))
	return hex.EncodeToString(sum[:16])
}

// Mail sends mail through one server.
type Mail struct {
	Host     string
	Port     int
	User     string // empty: without authentication
	Password string
	From     string
	To       []string
}

// mailTimeout bounds the whole conversation with the mail server.
const mailTimeout = 20 * time.Second

// Send sends a notice. STARTTLS is used where the server offers it, and demanded where a password is sent; port 465 is
// TLS from the start.
func (m Mail) Send(ctx context.Context, n Notice) error {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(m.From), msg.To(m.To...)); err != nil {
		return fmt.Errorf("mail to %s: %w", strings.Join(m.To, ", "), err)
	}
	msg.Subject(oneLine(n.Subject))
	msg.SetDateWithValue(n.At)
	msg.SetMessageIDWithValue(n.ID() + "@" + m.domain())
	msg.SetBodyString(mail.TypeTextPlain, n.Text)
	client, err := mail.NewClient(m.Host, m.options()...)
	if err != nil {
		return fmt.Errorf("mail by %s:%d: %w", m.Host, m.Port, err)
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	conn, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return fmt.Errorf("mail by %s:%d: %w", m.Host, m.Port, err)
	}
	err = client.SendWithSMTPClient(conn, msg)
	// How the server takes its leave says nothing of the mail, which would be sent again if this failed.
	_ = client.CloseWithSMTPClient(conn)
	if err != nil && !msg.IsDelivered() {
		return fmt.Errorf("mail by %s:%d: %w", m.Host, m.Port, err)
	}
	return nil
}

// domain is that of the sender.
func (m Mail) domain() string {
	_, domain, _ := strings.Cut(m.From, "@")
	return strings.TrimRight(domain, "> ")
}

// implicitTLS is the port of submission over TLS (RFC 8314, 3.3).
const implicitTLS = 465

func (m Mail) options() []mail.Option {
	o := []mail.Option{mail.WithPort(m.Port), mail.WithTimeout(mailTimeout)}
	switch {
	case m.Port == implicitTLS:
		o = append(o, mail.WithSSL())
	case m.User != "":
		o = append(o, mail.WithTLSPolicy(mail.TLSMandatory))
	default:
		o = append(o, mail.WithTLSPolicy(mail.TLSOpportunistic))
	}
	if m.User != "" {
		o = append(o, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.User), mail.WithPassword(m.Password))
	}
	return o
}

// oneLine keeps a subject from becoming several headers.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Webhook posts notices as JSON.
type Webhook struct {
	URL    string
	Secret string // signs the body; empty: not signed
	Client *http.Client
}

// SignatureHeader carries t=SECONDS,v1=HEX: HMAC-SHA256, by the secret, of "SECONDS." and the body. Who receives it
// refuses old seconds, so that nothing can be sent again.
const SignatureHeader = "X-Covet-Signature"

// DeliveryHeader carries the notice's ID: who has seen it already has nothing to do.
const DeliveryHeader = "X-Covet-Delivery"

// hookTimeout bounds a request.
const hookTimeout = 10 * time.Second

// Send posts a notice. Any status below 300 is a success.
func (h Webhook) Send(ctx context.Context, n Notice) error {
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("webhook: the URL cannot be used") // its own error would show the URL, which may hold a secret
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "covet")
	req.Header.Set(DeliveryHeader, n.ID())
	if h.Secret != "" {
		req.Header.Set(SignatureHeader, Sign(h.Secret, time.Now(), body))
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return fmt.Errorf("webhook to %s: %w", req.URL.Host, errors.Unwrap(err))
	}
	_, readErr := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if err := errors.Join(readErr, resp.Body.Close()); err != nil {
		return fmt.Errorf("webhook to %s: %w", req.URL.Host, err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("webhook to %s: it answers %s", req.URL.Host, resp.Status)
	}
	return nil
}

// Sign is the value of [SignatureHeader].
func Sign(secret string, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
