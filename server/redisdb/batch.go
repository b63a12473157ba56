package redisdb

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxBatch is how many questions go to Redis together.
const maxBatch = 128

// question is one run of a script that waits for its answer.
type question struct {
	script *redis.Script
	keys   []string
	args   []any

	value  any
	err    error
	turned chan turn // one of them, for whoever waits
}

// turn is what a waiting question is told.
type turn int

const (
	answered turn = iota
	lead          // nobody is asking: it is for this one to do it, for all that wait
)

// batch lets questions that come while another is under way go together afterwards: a system call for each would cost
// more than all else that is done to a request. Whoever comes first asks; when he has his answer, one of those that have
// come meanwhile asks for all of them. A question by itself waits for nobody.
type batch struct {
	mu      sync.Mutex
	asking  bool
	waiting []*question
}

// join says whether q is to ask at once; else it waits.
func (b *batch) join(q *question) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.asking {
		b.asking = true
		return true
	}
	b.waiting = append(b.waiting, q)
	return false
}

// take returns those that wait, at most so many.
func (b *batch) take(n int) []*question {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.waiting))
	taken := slices.Clone(b.waiting[:n])
	b.waiting = append(b.waiting[:0], b.waiting[n:]...)
	return taken
}

// next gives the asking to the first that waits.
func (b *batch) next() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.asking = false
		return
	}
	q := b.waiting[0]
	b.waiting = append(b.waiting[:0], b.waiting[1:]...)
	q.turned <- lead
}

// leave takes a question out that has waited long enough. It returns false where it is too late for that.
func (b *batch) leave(q *question) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, q)
	if i < 0 {
		return false
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	return true
}

// ask gets the question answered, together with others.
func (d *DB) ask(q *question) {
	if d.batch.join(q) {
		d.askAll(q)
		return
	}
	patience := time.NewTimer(Deadline)
	defer patience.Stop()
	select {
	case t := <-q.turned:
		if t == lead {
			d.askAll(q)
		}
	case <-patience.C:
		if d.batch.leave(q) {
			q.err = ErrAway // by the time that is left, those in front will have said so
			return
		}
		if <-q.turned == lead {
			d.askAll(q)
		}
	}
}

// askAll asks for q and for those that wait.
func (d *DB) askAll(q *question) {
	all := append([]*question{q}, d.batch.take(maxBatch-1)...)
	if d.away.Load() {
		for _, other := range all {
			other.err = ErrAway
		}
	} else {
		d.send(all)
		if err := all[0].err; err != nil && !errors.Is(err, redis.Nil) {
			d.failed(err) // before anybody else asks
		}
	}
	d.batch.next()
	for _, other := range all[1:] {
		other.turned <- answered
	}
}

// send asks Redis, within the deadline.
func (d *DB) send(all []*question) {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	if len(all) == 1 {
		all[0].value, all[0].err = all[0].script.Run(ctx, d.client, all[0].keys, all[0].args...).Result()
		return
	}
	pipe := d.client.Pipeline()
	cmds := make([]*redis.Cmd, len(all))
	for i, q := range all {
		cmds[i] = pipe.EvalSha(ctx, q.script.Hash(), q.keys, q.args...)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, q := range all {
		q.value, q.err = cmds[i].Result()
		if redis.HasErrorPrefix(q.err, "NOSCRIPT") { // it has been restarted: this one puts the script there
			q.value, q.err = q.script.Run(ctx, d.client, q.keys, q.args...).Result()
		}
	}
}
