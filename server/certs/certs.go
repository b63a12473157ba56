// Package certs keeps the certificate of a TLS listener: read from two files, checked, and read again when they change,
// without a connection noticing.
package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// Pair is a certificate that follows its files. Its methods are safe for concurrent use.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[loaded]
}

// loaded is what the files held when they were last right.
type loaded struct {
	certificate tls.Certificate
	digest      [sha256.Size]byte
}

// Load reads and checks a certificate chain and its private key, both PEM.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log}
	now, err := p.read()
	if err != nil {
		return nil, err
	}
	p.take(now)
	return p, nil
}

// read returns what the files hold now.
func (p *Pair) read() (*loaded, error) {
	chain, err := os.ReadFile(p.certFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	key, err := os.ReadFile(p.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the private key: %w", err)
	}
	c, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", p.certFile, p.keyFile, err)
	}
	sum := sha256.New()
	sum.Write(chain)
	sum.Write(key)
	l := &loaded{certificate: c}
	sum.Sum(l.digest[:0])
	return l, nil
}

// soon is how long before its end a certificate is warned about.
const soon = 14 * 24 * time.Hour

// take puts a certificate into use. An expired one is used all the same: a client may be told to go on with it, and
// nobody can with none.
func (p *Pair) take(l *loaded) {
	p.current.Store(l)
	leaf := l.certificate.Leaf
	left := time.Until(leaf.NotAfter)
	attrs := []any{"file", p.certFile, "subject", leaf.Subject.String(), "names", leaf.DNSNames, "not_after", leaf.NotAfter.UTC()}
	switch {
	case left <= 0:
		p.log.Error("the certificate has expired; renew it and send SIGHUP", attrs...)
	case left < soon:
		p.log.Warn("the certificate expires soon", attrs...)
	default:
		p.log.Info("certificate loaded", attrs...)
	}
}

// Reload reads the files again. Where they are not right the old certificate stays, and the error says why.
func (p *Pair) Reload() error {
	now, err := p.read()
	if err != nil {
		return fmt.Errorf("%w; serving on with the certificate that was loaded before", err)
	}
	if now.digest != p.current.Load().digest {
		p.take(now)
	}
	return nil
}

// Watch reloads whenever the files' contents have changed, looking every interval, until ctx ends. Between the writing
// of the certificate and that of its key the two do not fit, so a fault is logged only once it has stood for a whole
// interval.
func (p *Pair) Watch(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var before, logged string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		text := ""
		if err := p.Reload(); err != nil {
			text = err.Error()
		}
		if text != "" && text == before && text != logged {
			p.log.Error("the certificate's files have changed and are not usable", "error", text)
			logged = text
		}
		if text == "" {
			logged = ""
		}
		before = text
	}
}

// Certificate is for tls.Config.GetCertificate.
func (p *Pair) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &p.current.Load().certificate, nil
}

// NotAfter is when the certificate in use expires.
func (p *Pair) NotAfter() time.Time { return p.current.Load().certificate.Leaf.NotAfter }

// Check says what is wrong with the two files, or nil. A certificate that has expired is not wrong: a service that does
// not start would be worse.
func Check(certFile, keyFile string) error {
	_, err := (&Pair{certFile: certFile, keyFile: keyFile}).read()
	return err
}
