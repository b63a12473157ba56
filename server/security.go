package server

import (
	"fmt"

	"github.com/covetpy/covet/server/certs"
	"github.com/covetpy/covet/server/redisdb"
)

// SecurityConfig says who may ask what, how often, and over which connection.
type SecurityConfig struct {
	TLSCertFile string // PEM chain of the public listener; empty: plain HTTP
	TLSKeyFile  string // its PEM private key

	CORSOrigins          []string // origins whose pages may read answers: https://shop.example; none: left to the application
	CORSAllowCredentials bool     // and send cookies along

	RateLimitEnabled   bool
	RateLimitPerMinute int    // requests of one client address, and of one user
	RateLimitPerHour   int    // likewise
	RedisURL           Secret // where processes count together; empty: each counts alone
}

func (c *SecurityConfig) settings() []Setting {
	return []Setting{
		{Name: "TLS_CERT_FILE", Help: "certificate chain (PEM) of the public listener; plain HTTP if unset", Example: "TLS_CERT_FILE=/etc/covet/tls/tls.crt", Set: Text(&c.TLSCertFile)},
		{Name: "TLS_KEY_FILE", Help: "private key (PEM) of the certificate", Example: "TLS_KEY_FILE=/etc/covet/tls/tls.key", Set: Text(&c.TLSKeyFile)},
		{Name: "CORS_ORIGINS", Help: "origins whose pages may call the service, exactly; left to the application if unset", Example: "CORS_ORIGINS=https://shop.example,https://admin.shop.example", Kind: List, Set: origins(&c.CORSOrigins)},
		{Name: "CORS_ALLOW_CREDENTIALS", Help: "let those pages send cookies along", Example: "CORS_ALLOW_CREDENTIALS=true", Default: "false", Set: Switch(&c.CORSAllowCredentials)},
		{Name: "RATE_LIMIT_ENABLED", Help: "hold clients to rates, by address and by user", Example: "RATE_LIMIT_ENABLED=true", Default: "false", Set: Switch(&c.RateLimitEnabled)},
		{Name: "RATE_LIMIT_PER_MINUTE", Help: "requests a minute, up to 20 of them at once", Example: "RATE_LIMIT_PER_MINUTE=60", Default: fmt.Sprint(c.RateLimitPerMinute), Set: Number(&c.RateLimitPerMinute, 1, 1_000_000)},
		{Name: "RATE_LIMIT_PER_HOUR", Help: "requests an hour", Example: "RATE_LIMIT_PER_HOUR=1000", Default: fmt.Sprint(c.RateLimitPerHour), Set: Number(&c.RateLimitPerHour, 1, 100_000_000)},
		{Name: "REDIS_URL", Help: "Redis in which processes count together; each counts alone if unset", Example: "REDIS_URL=redis://127.0.0.1:6379/0", Secret: true, Set: redisURL(&c.RedisURL)},
	}
}

// defaultSecurity is what holds with nothing set at all.
func defaultSecurity() SecurityConfig {
	return SecurityConfig{RateLimitPerMinute: 60, RateLimitPerHour: 1000}
}

// fill gives a configuration made by hand the defaults for what it leaves empty.
func (c *SecurityConfig) fill() {
	def := defaultSecurity()
	orNumber(&c.RateLimitPerMinute, def.RateLimitPerMinute)
	orNumber(&c.RateLimitPerHour, def.RateLimitPerHour)
}

func orNumber(dst *int, value int) {
	if *dst == 0 {
		*dst = value
	}
}

// redisURL reads the address of a Redis.
func redisURL(dst *Secret) func(string) error {
	return func(v string) error {
		*dst = Secret(v)
		return redisdb.Check(v)
	}
}

// conflicts finds what is wrong with the combination of values.
func (c *SecurityConfig) conflicts() []Fault {
	return c.tlsConflicts()
}

func (c *SecurityConfig) tlsConflicts() []Fault {
	fault := func(name, problem string) []Fault {
		return []Fault{{Name: name, Problem: problem, Example: name + "=/etc/covet/tls/tls" + map[string]string{"TLS_CERT_FILE": ".crt", "TLS_KEY_FILE": ".key"}[name]}}
	}
	switch {
	case c.TLSCertFile == "" && c.TLSKeyFile == "":
		return nil
	case c.TLSKeyFile == "":
		return fault("TLS_KEY_FILE", "is missing beside TLS_CERT_FILE")
	case c.TLSCertFile == "":
		return fault("TLS_CERT_FILE", "is missing beside TLS_KEY_FILE")
	}
	if err := certs.Check(c.TLSCertFile, c.TLSKeyFile); err != nil {
		return []Fault{{Name: "TLS_CERT_FILE", Problem: fmt.Sprintf("cannot be used: %v", err)}}
	}
	return nil
}
