package main

import (
	"time"

	"github.com/covetpy/covet/server/config"
)

// options are the shop's own settings: its version, and the faults of this release.
type options struct {
	Version       string
	ErrorRate     float64       // share of requests answered with 500
	Latency       time.Duration // added to every request
	LatencyJitter time.Duration // and up to this much more, at random
	NotReady      bool          // /health/ready says 503
	CrashAfter    int           // requests until the process panics; 0: never
	SlowShutdown  time.Duration // how long stopping takes
	LeakMBPerMin  int
	ExitAtStart   int  // exit status; 0: does not
	Hang          bool // listen, and never answer
}

// settings declares them to the runtime, which reads and checks them with its own.
func (o *options) settings() []config.Setting {
	return []config.Setting{
		{Name: "SHOP_VERSION", Help: "version of this release", Example: "SHOP_VERSION=v1.0.0", Default: o.Version, Set: config.Text(&o.Version)},
		{Name: "SHOP_ERROR_RATE", Help: "share of requests that fail with 500", Example: "SHOP_ERROR_RATE=0.3", Set: config.Ratio(&o.ErrorRate)},
		{Name: "SHOP_LATENCY", Help: "time added to every request", Example: "SHOP_LATENCY=250ms", Set: config.Duration(&o.Latency)},
		{Name: "SHOP_LATENCY_JITTER", Help: "up to this much more, at random", Example: "SHOP_LATENCY_JITTER=100ms", Set: config.Duration(&o.LatencyJitter)},
		{Name: "SHOP_NOT_READY", Help: "never become ready", Example: "SHOP_NOT_READY=1", Set: config.Switch(&o.NotReady)},
		{Name: "SHOP_CRASH_AFTER", Help: "panic after so many requests", Example: "SHOP_CRASH_AFTER=1000", Set: config.Number(&o.CrashAfter, 0, 1<<31-1)},
		{Name: "SHOP_SLOW_SHUTDOWN", Help: "time that stopping takes", Example: "SHOP_SLOW_SHUTDOWN=20s", Set: config.Duration(&o.SlowShutdown)},
		{Name: "SHOP_LEAK_MB_PER_MIN", Help: "memory that is never freed", Example: "SHOP_LEAK_MB_PER_MIN=60", Set: config.Number(&o.LeakMBPerMin, 0, 100_000)},
		{Name: "SHOP_EXIT_AT_START", Help: "exit at once with this status", Example: "SHOP_EXIT_AT_START=3", Set: config.Number(&o.ExitAtStart, 0, 255)},
		{Name: "SHOP_HANG", Help: "listen and never answer", Example: "SHOP_HANG=1", Set: config.Switch(&o.Hang)},
	}
}
