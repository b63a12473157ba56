package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
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
