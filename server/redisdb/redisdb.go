// Package redisdb asks Redis what a request cannot wait for: each question has a deadline, and while Redis is away nobody
// asks it at all, so that an outage costs no request more than its first few.
package redisdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Deadline is how long one question may take.
const Deadline = 50 * time.Millisecond

// Lost remembers that a question of one request has waited in vain: its others, to other servers too, are not asked then,
// so that all of them together wait no longer than one. It is safe for concurrent use.
type Lost struct{ once atomic.Bool }

// LostKey is the key of a context's *Lost.
type LostKey struct{}

// ErrAway is returned without asking while Redis does not answer.
var ErrAway = errors.New("redis is away")

const (
	probeInterval = 250 * time.Millisecond
	probeTimeout  = time.Second
)

// DB is a Redis that may be away. Its methods are safe for concurrent use.
type DB struct {
	client     *redis.Client
	log        *slog.Logger
	away       atomic.Bool
	generation atomic.Uint32
	probing    sync.WaitGroup
	batch      batch
	life       context.Context
	end        context.CancelFunc
}

// quiet turns the library's own log off, which goes to standard error for each failed connection. The library keeps it in
// a variable of its package, to be set before any client runs.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Open makes a DB from a redis:// or rediss:// URL. It connects when it is first asked.
func Open(url string, log *slog.Logger) (*DB, error) {
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("REDIS_URL is not redis://[user:password@]host:port/number") // its own error would show the password
	}
	quiet()
	d := &DB{log: log}
	d.generation.Store(1)
	d.life, d.end = context.WithCancel(context.Background())
	opt.MaxRetries, opt.DialerRetries = -1, 1
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = probeTimeout, Deadline, Deadline, Deadline
	opt.ContextTimeoutEnabled = true
	opt.MinIdleConns = 1
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opt.OnConnect = func(context.Context, *redis.Conn) error { d.generation.Add(1); return nil }
	d.client = redis.NewClient(opt)
	return d, nil
}

// Check says what is wrong with a URL, or nil.
func Check(url string) error {
	_, err := redis.ParseURL(url)
	if err != nil {
		return errors.New("is not redis://[user:password@]host:port/number")
	}
	return nil
}

// Close ends all connections.
func (d *DB) Close() error {
	d.end()
	d.probing.Wait()
	return d.client.Close()
}

// Up says whether Redis is asked at present.
func (d *DB) Up() bool { return !d.away.Load() }

// Generation is a number that grows whenever a connection was made anew. While it stands, Redis cannot have been
// restarted and so has lost nothing.
func (d *DB) Generation() uint32 { return d.generation.Load() }

// Ping asks for a sign of life.
func (d *DB) Ping(ctx context.Context) error { return d.client.Ping(ctx).Err() }

// Run runs a script within the deadline. It returns ErrAway at once while Redis is away. That a request's client has
// gone does not end the question: what it asks may have been done already, and a connection would be lost with it.
func (d *DB) Run(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error) {
	if d.away.Load() {
		return nil, ErrAway
	}
	lost, _ := ctx.Value(LostKey{}).(*Lost)
	if lost != nil && lost.once.Load() {
		return nil, ErrAway // the next request asks
	}
	q := &question{script: script, keys: keys, args: args, turned: make(chan turn, 1)}
	d.ask(q)
	if errors.Is(q.err, ErrAway) {
		return nil, q.err
	}
	if q.err != nil && !errors.Is(q.err, redis.Nil) {
		if lost != nil {
			lost.once.Store(true)
		}
		return nil, fmt.Errorf("ask redis: %w", q.err)
	}
	return q.value, nil
}

// failed stops the asking, at the first failure: a request may ask several questions, and all of them together must not
// wait long. A probe in the background goes on.
func (d *DB) failed(err error) {
	var answered redis.Error
	if errors.As(err, &answered) || d.life.Err() != nil || !d.away.CompareAndSwap(false, true) {
		return
	}
	d.log.Warn("redis does not answer; going on without it until it does", "error", err)
	d.probing.Go(d.probe)
}

// probe asks now and then until Redis answers.
func (d *DB) probe() {
	since := time.Now()
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case <-d.life.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(d.life, probeTimeout)
		err := d.Ping(ctx)
		cancel()
		if err == nil {
			break
		}
	}
	d.generation.Add(1)
	d.away.Store(false)
	d.log.Info("redis answers again", "after", time.Since(since).Round(time.Millisecond))
}
