package config

import (
	"fmt"
	"time"

	"github.com/covetpy/covet/server/auth"
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

	JWTSecretKey                Secret // signs tokens; empty: nobody is known
	JWTAlgorithm                string // HS256, HS384, HS512
	JWTAccessTokenExpireMinutes int
	JWTRefreshTokenExpireDays   int
	AuthUsersFile               string // users who may have tokens; empty: tokens are verified and not issued
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
		{Name: "JWT_SECRET_KEY", Help: "key of access and refresh tokens, at least 64 characters in production", Example: "JWT_SECRET_KEY_FILE=/run/secrets/jwt_secret_key", Secret: true, Set: secretValue(&c.JWTSecretKey)},
		{Name: "JWT_ALGORITHM", Help: "HS256, HS384 or HS512", Example: "JWT_ALGORITHM=HS256", Default: c.JWTAlgorithm, Set: OneOf(&c.JWTAlgorithm, "HS256", "HS384", "HS512")},
		{Name: "JWT_ACCESS_TOKEN_EXPIRE_MINUTES", Help: "how long an access token lives", Example: "JWT_ACCESS_TOKEN_EXPIRE_MINUTES=15", Default: fmt.Sprint(c.JWTAccessTokenExpireMinutes), Set: Number(&c.JWTAccessTokenExpireMinutes, 1, 1440)},
		{Name: "JWT_REFRESH_TOKEN_EXPIRE_DAYS", Help: "how long a refresh token lives", Example: "JWT_REFRESH_TOKEN_EXPIRE_DAYS=7", Default: fmt.Sprint(c.JWTRefreshTokenExpireDays), Set: Number(&c.JWTRefreshTokenExpireDays, 1, 365)},
		{Name: "AUTH_USERS_FILE", Help: "users who may have tokens, name:argon2id hash:roles; no tokens are issued if unset", Example: "AUTH_USERS_FILE=/etc/covet/users", Set: Text(&c.AuthUsersFile)},
	}
}

// defaultSecurity is what holds with nothing set at all.
func defaultSecurity() SecurityConfig {
	return SecurityConfig{RateLimitPerMinute: 60, RateLimitPerHour: 1000, JWTAlgorithm: "HS256", JWTAccessTokenExpireMinutes: 15, JWTRefreshTokenExpireDays: 7}
}

// fill gives a configuration made by hand the defaults for what it leaves empty.
func (c *SecurityConfig) fill() {
	def := defaultSecurity()
	orNumber(&c.RateLimitPerMinute, def.RateLimitPerMinute)
	orNumber(&c.RateLimitPerHour, def.RateLimitPerHour)
	orText(&c.JWTAlgorithm, def.JWTAlgorithm)
	orNumber(&c.JWTAccessTokenExpireMinutes, def.JWTAccessTokenExpireMinutes)
	orNumber(&c.JWTRefreshTokenExpireDays, def.JWTRefreshTokenExpireDays)
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
func (c *SecurityConfig) conflicts(all *Config) []Fault {
	return append(c.tlsConflicts(), c.tokenConflicts(all)...)
}

// minJWTKey is the shortest key of tokens in production, in characters.
const minJWTKey = 64

func (c *SecurityConfig) tokenConflicts(all *Config) []Fault {
	var out []Fault
	key, environment := c.JWTSecretKey, all.Environment
	add := func(name, problem, example string) {
		out = append(out, Fault{Name: name, Problem: problem, Example: example})
	}
	if environment == Production && key != "" {
		if len(key) < minJWTKey {
			add("JWT_SECRET_KEY", fmt.Sprintf("has %d characters, production needs at least %d", len(key), minJWTKey), "JWT_SECRET_KEY=$(openssl rand -hex 32)")
		}
		if key == all.SecretKey {
			add("JWT_SECRET_KEY", "is the same as SECRET_KEY, which production forbids", "JWT_SECRET_KEY=$(openssl rand -hex 32)")
		}
	}
	if c.AuthUsersFile == "" {
		return out
	}
	if key == "" {
		add("JWT_SECRET_KEY", "is missing beside AUTH_USERS_FILE", "JWT_SECRET_KEY=$(openssl rand -hex 32)")
	}
	if environment == Production && c.RedisURL == "" && all.Data.RedisSessionURL == "" && all.Data.DatabaseURL == "" {
		add("REDIS_URL", "is missing beside AUTH_USERS_FILE: in production, revocations must outlive a process (DATABASE_URL does too)", "REDIS_URL=redis://127.0.0.1:6379/0")
	}
	if err := auth.CheckUsersFile(c.AuthUsersFile); err != nil {
		add("AUTH_USERS_FILE", "cannot be used: "+err.Error(), "")
	}
	return out
}

// AccessTTL is how long an access token lives.
func (c *SecurityConfig) AccessTTL() time.Duration {
	return time.Duration(c.JWTAccessTokenExpireMinutes) * time.Minute
}

// RefreshTTL is how long a refresh token lives.
func (c *SecurityConfig) RefreshTTL() time.Duration {
	return time.Duration(c.JWTRefreshTokenExpireDays) * 24 * time.Hour
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
