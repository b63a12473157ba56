package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// External is another service that this one needs, and how it is asked whether it works.
type External struct {
	Name     string
	URL      string // answers 2xx or 3xx where it does
	Required bool   // else its absence only degrades this service
}

// externalSettings are those of the services that readiness asks.
func (c *Config) externalSettings() []Setting {
	return []Setting{
		{Name: "HEALTH_REQUIRED_SERVICES", Help: "services without which this one is not ready, name=URL …", Example: "HEALTH_REQUIRED_SERVICES='payments=https://pay.internal/health'", Kind: Pairs, Set: externals(&c.Externals, true)},
		{Name: "HEALTH_OPTIONAL_SERVICES", Help: "services without which it is degraded", Example: "HEALTH_OPTIONAL_SERVICES='mail=https://mail.internal/health'", Kind: Pairs, Set: externals(&c.Externals, false)},
		{Name: "HEALTH_SERVICE_TIMEOUT", Help: "how long each of them may take to answer", Example: "HEALTH_SERVICE_TIMEOUT=2s", Default: c.ExternalTimeout.String(), Set: Duration(&c.ExternalTimeout)},
	}
}

// externals reads name=URL pairs.
func externals(dst *[]External, required bool) func(string) error {
	return func(v string) error {
		var named map[string]string
		if err := pairs(&named)(v); err != nil {
			return errors.New("holds something other than name=URL")
		}
		out := slices.DeleteFunc(slices.Clone(*dst), func(e External) bool { return e.Required == required })
		for name, address := range named {
			var u string
			if err := healthURL(&u)(address); err != nil {
				return fmt.Errorf("has a %s whose address %w", name, err)
			}
			out = append(out, External{Name: name, URL: u, Required: required})
		}
		slices.SortFunc(out, func(a, b External) int { return compareText(a.Name, b.Name) })
		*dst = out
		return nil
	}
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// healthURL reads an address that may have a query.
func healthURL(dst *string) func(string) error {
	return func(v string) error {
		u, err := url.Parse(v)
		if err != nil {
			return errors.New("is not a URL")
		}
		*dst = v
		u.RawQuery, u.Fragment = "", ""
		var plain string
		return webURL(&plain)(u.String())
	}
}

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
