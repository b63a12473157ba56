package proxy

import (
	"log/slog"
	"net/netip"
	"time"
)

// Options tune a Balancer. The zero value of a field means its default.
type Options struct {
	// DialTimeout bounds the making of one connection to an instance. Default 1 s.
	DialTimeout time.Duration
	// ResponseHeaderTimeout bounds the wait for an answer's head, from the last byte of the request to the last of the
	// head, and the wait for an instance to take the next piece of a request's body. Default 60 s; it may take a
	// quarter more.
	ResponseHeaderTimeout time.Duration
	// Hold is how long a request waits for an instance that can be reached when there is none. Default 5 s; negative for
	// not at all.
	Hold time.Duration
	// HoldLimit is how many requests may wait so at a time; more are refused at once. Default 1000.
	HoldLimit int
	// UpgradeDrain is how long Leave lets upgraded connections end by themselves before WebSockets are closed with
	// 1001 (RFC 6455, 7.4.1) and others are cut. Default 10 s; less where Leave's context has an earlier deadline.
	UpgradeDrain time.Duration
	// IdleTimeout is how long an unused connection to an instance is kept. Default 30 s.
	IdleTimeout time.Duration
	// MaxIdle is how many unused connections are kept for an instance. Default 512.
	MaxIdle int
	// MaxResponseHead is the largest head of an answer, in bytes. Default 64 KiB.
	MaxResponseHead int
	// TrustedProxies are the peers whose X-Forwarded-* and Forwarded fields are believed and added to; anybody else's
	// are dropped. Default none.
	TrustedProxies []netip.Prefix
	// HideRelease leaves out the X-Covet-Release field of answers.
	HideRelease bool
	// Logger takes one warning for each answer the balancer had to make up, at most ten a second. Default slog.Default().
	Logger *slog.Logger
}

// Normalize returns o with a default in place of each zero value.
func (o Options) Normalize() Options {
	defaultTo(&o.DialTimeout, time.Second)
	defaultTo(&o.ResponseHeaderTimeout, 60*time.Second)
	defaultTo(&o.Hold, 5*time.Second)
	defaultTo(&o.HoldLimit, 1000)
	defaultTo(&o.UpgradeDrain, 10*time.Second)
	defaultTo(&o.IdleTimeout, 30*time.Second)
	defaultTo(&o.MaxIdle, 512)
	defaultTo(&o.MaxResponseHead, 64<<10)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func defaultTo[T ~int | ~int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}
