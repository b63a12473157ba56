package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/covetpy/covet/server/certs"
	"github.com/prometheus/client_golang/prometheus"
)

// certificatePoll is how often the certificate's files are looked at. SIGHUP does it at once.
const certificatePoll = 10 * time.Second

// secure makes the public listener speak TLS where the configuration names a certificate.
func (s *Server) secure() error {
	c := s.cfg.Security
	if c.TLSCertFile == "" {
		return nil
	}
	pair, err := certs.Load(c.TLSCertFile, c.TLSKeyFile, s.Logger("tls"))
	if err != nil {
		return err
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.Certificate}
	s.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "covetpy_tls_certificate_not_after_seconds", Help: "When the certificate in use expires, in Unix time.",
	}, func() float64 { return float64(pair.NotAfter().Unix()) }))
	var watch sync.WaitGroup
	end := func() {}
	s.Component(Component{
		Name: "certificate",
		Start: func(ctx context.Context) error {
			ctx, end = context.WithCancel(ctx)
			watch.Go(func() { pair.Watch(ctx, certificatePoll) })
			return nil
		},
		Stop:   func(context.Context) error { end(); watch.Wait(); return nil },
		Reload: func(context.Context) error { return pair.Reload() },
	})
	return nil
}

// secureEndpoint gives an endpoint TLS and HTTP/2. The HTTP/2 half is set up by a second http.Server that never serves:
// its Shutdown sends GOAWAY on every HTTP/2 connection and does nothing else, while that of the serving one would also
// close idle HTTP/1 connections at once, on clients whose next request is under way.
func (e *endpoint) secureEndpoint(config *tls.Config) error {
	h2 := &http.Server{TLSConfig: config.Clone(), IdleTimeout: e.http.IdleTimeout}
	if err := h2.ServeTLS(&queue{}, "", ""); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("set up HTTP/2: %w", err)
	}
	e.http.TLSConfig, e.http.TLSNextProto, e.secure = config, h2.TLSNextProto, true
	e.sayGoAway = func() {
		// It has no connections of its own to wait for, so that no error can come of it.
		_ = h2.Shutdown(context.Background())
	}
	return nil
}

// goAway tells HTTP/2 clients to open no more streams on their connections. Streams under way are finished.
func (e *endpoint) goAway() {
	if e.sayGoAway != nil {
		e.sayGoAway()
	}
}

// serve answers connections of a listener until it is closed.
func (e *endpoint) serve(l net.Listener) error {
	if e.secure { // http.Server.Serve sets a TLSConfig of its own
		return e.http.ServeTLS(l, "", "")
	}
	return e.http.Serve(l)
}
