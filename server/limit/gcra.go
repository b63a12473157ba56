// Package limit decides how often a client may ask: by the generic cell rate algorithm (GCRA, ITU-T I.371), per address
// and per user, in one process or in Redis for several.
package limit

import (
	"strconv"
	"time"
)

// Rule is a rate: Limit requests in a Window, of which Burst may come at once. A Limit of 0 is no rule.
type Rule struct {
	Name   string
	Limit  int
	Window time.Duration
	Burst  int
}

// rules is how many rules a client is held to.
const rules = 2

// Rules are the rates every client is held to, by the minute and by the hour.
type Rules [rules]Rule

// interval is the time that one request uses up.
func (r Rule) interval() int64 {
	if r.Limit == 0 {
		return 0
	}
	return int64(r.Window) / int64(r.Limit)
}

// capacity is how much time a client may be ahead by.
func (r Rule) capacity() int64 { return r.interval() * int64(r.Burst) }

// arrivals are the theoretical arrival times of a client's next request, one a rule, in nanoseconds: how far it is
// ahead of the rate, seen from the present.
type arrivals [rules]int64

// next returns the arrival times after one more request at now, and how long the client has to wait for it: 0 means that
// it may go on.
func (rs *Rules) next(now int64, at arrivals) (after arrivals, wait time.Duration) {
	for i := range rs {
		after[i] = max(at[i], now) + rs[i].interval()
		if rs[i].Limit > 0 {
			wait = max(wait, time.Duration(after[i]-now-rs[i].capacity()))
		}
	}
	return after, wait
}

// Verdict is what became of a request.
type Verdict struct {
	Allowed    bool
	RetryAfter time.Duration // where it is not allowed
	Local      bool          // decided in this process alone
	ahead      arrivals      // relative to now; the larger of address and user
}

// Policy is the value of the RateLimit-Policy header (draft-ietf-httpapi-ratelimit-headers).
func (rs *Rules) Policy() string {
	var b []byte
	for _, r := range rs {
		if r.Limit == 0 {
			continue
		}
		b = appendName(b, r.Name)
		b = strconv.AppendInt(append(b, ";q="...), int64(r.Limit), 10)
		b = strconv.AppendInt(append(b, ";w="...), int64(r.Window/time.Second), 10)
	}
	return string(b)
}

// Header is the value of the RateLimit header: for each rule how many requests may come at once from here, and in how
// many seconds all of the burst is there again.
func (rs *Rules) Header(v Verdict) string {
	var buf [64]byte
	b := buf[:0]
	for i, r := range rs {
		if r.Limit == 0 {
			continue
		}
		left := max(0, (r.capacity()-v.ahead[i])/max(1, r.interval()))
		b = appendName(b, r.Name)
		b = strconv.AppendInt(append(b, ";r="...), left, 10)
		b = strconv.AppendInt(append(b, ";t="...), seconds(time.Duration(v.ahead[i])), 10)
	}
	return string(b)
}

func appendName(b []byte, name string) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return append(append(append(b, '"'), name...), '"')
}

// seconds rounds up: a client that waits so long must not come too early.
func seconds(d time.Duration) int64 { return int64((max(0, d) + time.Second - 1) / time.Second) }

// RetrySeconds is the value of the Retry-After header, at least 1.
func (v Verdict) RetrySeconds() string {
	return strconv.FormatInt(max(1, seconds(v.RetryAfter)), 10)
}
