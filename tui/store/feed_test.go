package store

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
)

// script is a port whose stream a test writes.
type script struct {
	console.Port
	watch func(ctx context.Context, after journal.Seq, yield func(console.Update, error) bool)
}

func (s script) Watch(ctx context.Context, after journal.Seq) iter.Seq2[console.Update, error] {
	return func(yield func(console.Update, error) bool) { s.watch(ctx, after, yield) }
}

func (script) Ask(context.Context, console.Op, console.Query, any) error {
	return errors.New("nothing is asked for here")
}

func TestFeedTakesUpWhereItStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var after []journal.Seq
		port := script{watch: func(_ context.Context, a journal.Seq, yield func(console.Update, error) bool) {
			after = append(after, a)
			if yield(event(a+1), nil) {
				yield(console.Update{}, errors.New("reset"))
			}
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		f := NewFeed(port, time.Now, func() {})
		f.Run(ctx)
		if len(after) < 3 || after[0] != 0 || after[1] != 1 || after[2] != 2 {
			t.Errorf("watched from %v", after)
		}
		if s := f.Snapshot(); s.Link.State != Lost || len(s.Audit) != len(after) {
			t.Errorf("%+v with %d events", s.Link, len(s.Audit))
		}
	})
}

func TestFeedWaitsLongerAndLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		port := script{watch: func(_ context.Context, _ journal.Seq, yield func(console.Update, error) bool) {
			tries = append(tries, time.Now())
			yield(console.Update{}, errors.New("refused"))
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		NewFeed(port, time.Now, func() {}).Run(ctx)
		if len(tries) < 10 || len(tries) > 20 {
			t.Fatalf("%d tries in a minute", len(tries))
		}
		last := tries[len(tries)-1].Sub(tries[len(tries)-2])
		if first := tries[1].Sub(tries[0]); first > 400*time.Millisecond || last < longWait || last > longWait*5/4 {
			t.Errorf("waited %s first and %s last", first, last)
		}
	})
}

func TestFeedGivesUpOnASilentStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		watched := 0
		port := script{watch: func(ctx context.Context, _ journal.Seq, yield func(console.Update, error) bool) {
			watched++
			yield(status(0, t0), nil)
			<-ctx.Done()
			yield(console.Update{}, ctx.Err())
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		f := NewFeed(port, time.Now, func() {})
		go f.Run(ctx)
		time.Sleep(silence + 100*time.Millisecond)
		synctest.Wait()
		if s := f.Snapshot(); s.Link.State != Lost || s.Link.Message != errSilent.Error() {
			t.Errorf("%+v", s.Link)
		}
		<-ctx.Done()
		synctest.Wait()
		if watched < 2 {
			t.Error("it did not connect again")
		}
	})
}

func TestFeedWakesTheScreenFourTimesASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		port := script{watch: func(ctx context.Context, _ journal.Seq, yield func(console.Update, error) bool) {
			for n := journal.Seq(1); ctx.Err() == nil; n++ {
				time.Sleep(time.Millisecond)
				if !yield(event(n), nil) {
					return
				}
			}
		}}
		var woken atomic.Int32
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		f := NewFeed(port, time.Now, func() { woken.Add(1) })
		f.Run(ctx)
		if n := woken.Load(); n < 7 || n > 9 {
			t.Errorf("woken %d times in 2 s", n)
		}
		if n := len(f.Snapshot().Audit); n < 1900 {
			t.Errorf("%d events of 2000 were taken", n)
		}
	})
}

func TestTailTakesUpWithoutRepeating(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		port := logs{}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		tail := NewTail(&port, console.LogQuery{Lines: 10}, func() {})
		tail.Run(ctx)
		lines := tail.View().Lines
		for i, l := range lines {
			if want := t0.Add(time.Duration(i) * time.Second); !l.At.Equal(want) {
				t.Fatalf("line %d is of %s, want %s", i, l.At, want)
			}
		}
		if port.times < 3 || len(lines) != port.times {
			t.Errorf("%d lines in %d streams", len(lines), port.times)
		}
	})
}

// logs is a port whose log grows by a line with every stream, each of which gives all of it and breaks.
type logs struct {
	console.Port
	times int
}

func (p *logs) Logs(context.Context, console.LogQuery) iter.Seq2[console.LogLine, error] {
	return func(yield func(console.LogLine, error) bool) {
		p.times++
		for i := range p.times {
			if !yield(console.LogLine{At: t0.Add(time.Duration(i) * time.Second)}, nil) {
				return
			}
		}
		yield(console.LogLine{}, errors.New("reset"))
	}
}
