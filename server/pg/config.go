package pg

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says which servers there are and how many connections each may have. Zero values are the defaults named here.
type Config struct {
	URL      string   // of the primary; more than one host may stand in it
	Replicas []string // likewise

	PoolSize    int // connections kept to each server: 10
	MaxOverflow int // and how many more there may be for a while; 0 is none

	Application string // application_name

	AcquireTimeout   time.Duration // 10 s: the longest wait for a connection, and for a primary while there is none
	StatementTimeout time.Duration // 30 s
	IdleTimeout      time.Duration // 300 s
	Lifetime         time.Duration // 1800 s, of a connection
	MaxLag           time.Duration // 10 s: a replica further behind is not read while the primary answers

	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.PoolSize == 0 {
		c.PoolSize = 10
	}
	for dst, value := range map[*time.Duration]time.Duration{
		&c.AcquireTimeout: 10 * time.Second, &c.StatementTimeout: 30 * time.Second, &c.IdleTimeout: 300 * time.Second,
		&c.Lifetime: 1800 * time.Second, &c.MaxLag: 10 * time.Second,
	} {
		if *dst == 0 {
			*dst = value
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// CheckURL says what is wrong with a connection URL, without showing its password, or nil.
func CheckURL(url string) error {
	_, err := parse(url)
	return err
}

func parse(url string) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("is no connection URL: postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	return c, nil
}

// connectTimeout bounds one attempt to connect where the URL names no bound.
const connectTimeout = 3 * time.Second

// servers makes a pool configuration for each server that a URL names.
func (c Config) servers(url string) ([]*pgxpool.Config, error) {
	parsed, err := parse(url)
	if err != nil {
		return nil, err
	}
	conn := &parsed.ConnConfig.Config
	all := append([]*pgconn.FallbackConfig{{Host: conn.Host, Port: conn.Port, TLSConfig: conn.TLSConfig}}, conn.Fallbacks...)
	var out []*pgxpool.Config
	seen := map[string]*pgxpool.Config{}
	for _, f := range all {
		name := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port)))
		if first := seen[name]; first != nil { // the same server with and without TLS: sslmode=prefer
			first.ConnConfig.Fallbacks = append(first.ConnConfig.Fallbacks, f)
			continue
		}
		one := parsed.Copy()
		one.ConnConfig.Host, one.ConnConfig.Port, one.ConnConfig.TLSConfig = f.Host, f.Port, f.TLSConfig
		one.ConnConfig.Fallbacks, one.ConnConfig.ValidateConnect = nil, nil // who is the primary is asked by ourselves
		c.tune(one)
		seen[name] = one
		out = append(out, one)
	}
	return out, nil
}

// tune sets what the URL leaves open.
func (c Config) tune(p *pgxpool.Config) {
	p.MaxConns = int32(c.PoolSize + c.MaxOverflow)
	p.MinConns = int32(c.PoolSize)
	p.MaxConnIdleTime, p.MaxConnLifetime = c.IdleTimeout, c.Lifetime
	p.MaxConnLifetimeJitter = c.Lifetime / 10
	if p.ConnConfig.ConnectTimeout == 0 || p.ConnConfig.ConnectTimeout > connectTimeout {
		p.ConnConfig.ConnectTimeout = connectTimeout
	}
	params := p.ConnConfig.RuntimeParams
	for name, value := range map[string]string{
		"application_name":  c.Application,
		"statement_timeout": strconv.FormatInt(c.StatementTimeout.Milliseconds(), 10),
	} {
		if _, set := params[name]; !set && value != "" {
			params[name] = value
		}
	}
}

// Insecure says why a connection to the servers of a URL may be read by others on the way, or "". Servers on this machine
// are not concerned.
func Insecure(url string) string {
	c, err := parse(url)
	if err != nil {
		return ""
	}
	conn := &c.ConnConfig.Config
	all := append([]*pgconn.FallbackConfig{{Host: conn.Host, Port: conn.Port, TLSConfig: conn.TLSConfig}}, conn.Fallbacks...)
	for _, f := range all {
		if f.TLSConfig == nil && !onThisMachine(f.Host) {
			return fmt.Sprintf("may connect to %s without TLS: add sslmode=verify-full, or at least sslmode=require", f.Host)
		}
	}
	return ""
}

func onThisMachine(host string) bool {
	if host == "localhost" || (host != "" && host[0] == '/') {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
