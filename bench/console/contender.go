package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/covetpy/covet/test/kubetest"
)

// contender is a program that shows pods.
type contender struct {
	name, program string
	args          []string
	frame         string // what its first frame has
	list          string // keys that lead to the pods
}

func (x contender) measure(ctx context.Context, c *kubetest.Cluster, front *front, o options) (result, error) {
	var r result
	s, err := open(o.width, o.height, nil, x.program, x.args...)
	if err != nil {
		return r, err
	}
	defer s.close()
	if err := x.arrive(s, &r); err != nil {
		return r, err
	}
	time.Sleep(10 * time.Second) // what it does once is over
	if err := x.rest(s, front, o, &r); err != nil {
		return r, err
	}
	if r.idleKeys, err = keys(s, o.keys); err != nil {
		fmt.Printf("bench: the keys of %s could not be timed: %.200v\n", x.name, err)
		return r, nil
	}
	moving, err := newChurn(ctx, c, o.pods)
	if err != nil {
		return r, err
	}
	churning, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- moving.run(churning) }()
	time.Sleep(3 * time.Second)
	before, began := moving.changed.Load(), time.Now()
	if err := x.work(s, o, &r); err != nil {
		return r, err
	}
	r.changes = float64(moving.changed.Load()-before) / time.Since(began).Seconds()
	stop()
	return r, <-ended
}

// arrive times the first frame and the first rows.
func (x contender) arrive(s *session, r *result) (err error) {
	if r.frame, err = s.await(s.began, time.Minute, func() bool { return strings.Contains(s.screen.Text(), x.frame) }); err != nil {
		return err
	}
	if x.list != "" {
		if _, err := s.await(s.began, time.Minute, func() bool { return !strings.Contains(s.screen.Text(), "connecting") }); err != nil {
			return err
		}
		if err := s.press(x.list); err != nil {
			return err
		}
	}
	r.rows, err = s.await(s.began, 2*time.Minute, func() bool { return strings.Count(s.screen.Text(), service+"-") > 20 })
	return err
}

// rest looks at the program while nothing happens.
func (x contender) rest(s *session, front *front, o options, r *result) error {
	before, err := used(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	front.reset()
	began := time.Now()
	time.Sleep(o.idle)
	after, err := used(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	r.idle = (after.cpu - before.cpu).Seconds() / time.Since(began).Seconds()
	r.rss, r.anon = after.rss, after.anon
	r.requestsObserved = front.seen()
	r.requests = float64(len(r.requestsObserved)) / time.Since(began).Seconds()
	return nil
}

// work is keys pressed, and time passed, while pods change.
func (x contender) work(s *session, o options, r *result) (err error) {
	before, err := used(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	began := time.Now()
	time.Sleep(o.idle / 2)
	after, err := used(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	r.busy = (after.cpu - before.cpu).Seconds() / time.Since(began).Seconds()
	r.keys, err = keys(s, o.keys)
	return err
}

// keys presses j and k by turns, and times each until another row is the selected one.
func keys(s *session, n int) ([]time.Duration, error) {
	var out []time.Duration
	for i := range n {
		was := s.screen.Marked()
		if was < 0 {
			return nil, fmt.Errorf("no row is selected:\n%s", s.screen.Text())
		}
		pressed := time.Now()
		if err := s.press([]string{"j", "k"}[i%2]); err != nil {
			return nil, err
		}
		took, err := s.await(pressed, 10*time.Second, func() bool { is := s.screen.Marked(); return is >= 0 && is != was })
		if err != nil {
			return nil, err
		}
		out = append(out, took)
		time.Sleep(time.Duration(30+i%17) * time.Millisecond) // a person's pace, and not in step with a clock
	}
	return out, nil
}
