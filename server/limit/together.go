package limit

import (
	"context"
	"sync"
)

// together lets requests of the same client that come while Redis is asked about one of them be asked about in one go.
type together struct {
	mu     sync.Mutex
	groups map[asker]*group
}

// asker is an address with the user, or "", that it sends.
type asker struct{ address, user string }

// group is the requests of one client of which one is being asked about.
type group struct{ waiting []*request }

// request is one that waits for what becomes of it.
type request struct {
	told chan outcome
}

// outcome is a verdict, or, where lead has any, that this request is to ask for itself and for them.
type outcome struct {
	verdict Verdict
	err     error
	lead    []*request
}

// join says whether a request is the first of its client; else it waits to be told.
func (t *together) join(c asker) *request {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, busy := t.groups[c]
	if !busy {
		if t.groups == nil {
			t.groups = map[asker]*group{}
		}
		t.groups[c] = &group{}
		return nil
	}
	r := &request{told: make(chan outcome, 1)}
	g.waiting = append(g.waiting, r)
	return r
}

// next lets one of those that have come meanwhile ask for all of them.
func (t *together) next(c asker) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[c]
	if len(g.waiting) == 0 {
		delete(t.groups, c)
		return
	}
	waiting := g.waiting
	g.waiting = nil
	waiting[0].told <- outcome{lead: waiting}
}

// takeTogether asks Redis, for this request or with others of its client.
func (l *Limiter) takeTogether(ctx context.Context, address, user string) (Verdict, error) {
	c := asker{address, user}
	r := l.together.join(c)
	if r == nil {
		v, _, err := l.takeShared(ctx, c, 1)
		l.together.next(c)
		return v, err
	}
	o := <-r.told
	if o.lead == nil {
		return o.verdict, o.err
	}
	v, through, err := l.takeShared(ctx, c, len(o.lead))
	l.together.next(c)
	for i, other := range o.lead[1:] {
		mine := v
		mine.Allowed = i+1 < through
		other.told <- outcome{verdict: mine, err: err}
	}
	v.Allowed = through > 0
	return v, err
}
