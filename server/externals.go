package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// checkExternals registers the checks of the configured services.
func (s *Server) checkExternals() {
	client := &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, e := range s.cfg.Externals {
		s.health.Register(Check{Name: e.Name, Required: e.Required, Timeout: s.cfg.ExternalTimeout,
			Run: func(ctx context.Context) error { return askExternal(ctx, client, e.URL) }})
	}
}

// maxHealthBody is how much of an answer is read, so that the connection can be used again.
const maxHealthBody = 64 << 10

func askExternal(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "covet-health")
	resp, err := client.Do(req)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err // the address is the configuration's, and may not be everybody's to read
		}
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxHealthBody))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
