package limit

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed gcra.lua
var source string

// Scripts runs scripts in Redis.
type Scripts interface {
	// Run returns the answer soon, or an error at once while Redis is away.
	Run(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error)
	// Generation grows whenever Redis may have lost what it knew.
	Generation() uint32
}

// Limiter holds clients to rules. Its methods are safe for concurrent use.
type Limiter struct {
	rules     Rules
	addresses *table
	users     *table
	shared    Scripts // nil: each process counts alone
	script    *redis.Script
	prefix    string
	args      [2 * rules]any
	together  together
	clock     func() int64 // nanoseconds that only grow
}

// maxClients is how many addresses, and how many users, are remembered: about 8 MB each.
const maxClients = 1 << 16

// New makes a limiter. Where shared is not nil, processes that give the same prefix count together, and each alone only
// while Redis is away.
func New(rs Rules, shared Scripts, prefix string) *Limiter {
	l := &Limiter{rules: rs, shared: shared, prefix: prefix}
	start := time.Now()
	l.clock = func() int64 { return int64(time.Since(start)) }
	l.addresses, l.users = newTable(&l.rules, maxClients), newTable(&l.rules, maxClients)
	if shared != nil {
		l.script = redis.NewScript(source)
	}
	for i, r := range rs {
		l.args[2*i], l.args[2*i+1] = r.interval()/1000, r.capacity()/1000
	}
	return l
}

// Rules returns the rules in force.
func (l *Limiter) Rules() *Rules { return &l.rules }

// Clients is how many addresses and users are remembered in this process.
func (l *Limiter) Clients() int { return l.addresses.size() + l.users.size() }

// Take counts a request of an address, and of a user where one is known, and says whether it may go on. It never fails:
// without Redis this process decides, from what it has counted itself and has learned before.
func (l *Limiter) Take(ctx context.Context, address, user string) Verdict {
	address = Network(address)
	if l.shared != nil {
		if v, err := l.takeTogether(ctx, address, user); err == nil {
			return v
		}
	}
	return l.takeLocal(address, user)
}

func (l *Limiter) takeLocal(address, user string) Verdict {
	now, at, wait := l.addresses.take(l.clock, address)
	if wait == 0 && user != "" {
		_, userAt, userWait := l.users.take(l.clock, user)
		if userWait > 0 {
			l.addresses.refund(address)
		}
		wait = userWait
		for i := range at {
			at[i] = max(at[i], userAt[i])
		}
	}
	v := Verdict{Allowed: wait == 0, RetryAfter: wait, Local: true}
	for i := range at {
		v.ahead[i] = max(0, at[i]-now)
	}
	return v
}

// errAnswer means that the script answered something else than it is written to.
var errAnswer = errors.New("unexpected answer of the script")

// takeShared asks Redis about n requests of a client, and returns how many of them are let through with the verdict on
// the last.
func (l *Limiter) takeShared(ctx context.Context, c asker, n int) (v Verdict, through int, err error) {
	generation, now := l.shared.Generation(), l.clock()
	keys := []string{l.prefix + "a:" + c.address}
	args := make([]any, 0, 1+len(l.args)+2*rules)
	args = appendAhead(append(append(args, n), l.args[:]...), l.addresses.unsynced(now, c.address, generation))
	if c.user != "" {
		keys = append(keys, l.prefix+"u:"+c.user)
		args = appendAhead(args, l.users.unsynced(now, c.user, generation))
	}
	answer, err := l.shared.Run(ctx, l.script, keys, args...)
	if err != nil {
		return Verdict{}, 0, err
	}
	numbers, err := integers(answer, 2+rules*len(keys))
	if err != nil {
		return Verdict{}, 0, err
	}
	through = int(numbers[0])
	v = Verdict{Allowed: through == n, RetryAfter: time.Duration(numbers[1]) * time.Microsecond}
	for k, t := range []*table{l.addresses, l.users}[:len(keys)] {
		var ahead arrivals
		for i := range ahead {
			ahead[i] = numbers[2+rules*k+i] * int64(time.Microsecond)
			v.ahead[i] = max(v.ahead[i], ahead[i])
		}
		t.learn(now, []string{c.address, c.user}[k], ahead, generation)
	}
	return v, through, nil
}

func appendAhead(args []any, ahead arrivals) []any {
	for _, a := range ahead {
		args = append(args, a/1000)
	}
	return args
}

func integers(answer any, n int) ([]int64, error) {
	list, ok := answer.([]any)
	if !ok || len(list) != n {
		return nil, fmt.Errorf("%w: %v", errAnswer, answer)
	}
	out := make([]int64, n)
	for i, v := range list {
		if out[i], ok = v.(int64); !ok {
			return nil, fmt.Errorf("%w: %v", errAnswer, answer)
		}
	}
	return out, nil
}

// Network is what counts as one client: an IPv4 address, or the /64 that one subscriber has of IPv6.
func Network(address string) string {
	if strings.IndexByte(address, ':') < 0 {
		return address
	}
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.Addr().String()
}
