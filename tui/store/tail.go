package store

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/console"
)

// maxLines bounds how many log lines are kept.
const maxLines = 5000

// Tail follows log lines, keeping the newest few thousand.
type Tail struct {
	Query console.LogQuery
	Note  string // what is special about it, such as that it is the log of a life that is over
	lines func(ctx context.Context) iter.Seq2[console.LogLine, error]
	once  bool // what comes is all there is: it is not asked for again
	wake  func()

	mu      sync.Mutex
	kept    []console.LogLine
	version uint64
	problem string
	news    chan struct{}
}

// TailView is what a Tail holds at one moment.
type TailView struct {
	Lines   []console.LogLine
	Version uint64 // how many lines there have been
	Problem string // why no more come, when none do
}

// NewTail makes a tail of the lines the query chooses.
func NewTail(port console.Port, q console.LogQuery, wake func()) *Tail {
	q.Follow = true
	read := func(ctx context.Context) iter.Seq2[console.LogLine, error] { return port.Logs(ctx, q) }
	return &Tail{Query: q, lines: read, wake: wake, news: make(chan struct{}, 1)}
}

// NewPrevious makes a tail of what a pod's containers wrote in their lives before the present ones.
func NewPrevious(c console.Cluster, pod string, lines int, wake func()) *Tail {
	q := console.PodLogQuery{Pod: pod, Lines: lines, Previous: true}
	read := func(ctx context.Context) iter.Seq2[console.LogLine, error] { return c.PodLogs(ctx, q) }
	return &Tail{Query: console.LogQuery{Instance: pod}, Note: "the life before this one", lines: read, once: true, wake: wake, news: make(chan struct{}, 1)}
}

// Run follows until the context ends, taking the stream up again when it breaks.
func (t *Tail) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.news:
				t.wake()
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wakeEvery):
			}
		}
	})
	defer wg.Wait()
	for wait := firstWait; ctx.Err() == nil; wait = min(wait*2, longWait) {
		err := t.read(ctx)
		if t.once && errors.Is(err, errEnded) {
			return
		}
		t.set(func() { t.problem, _ = words(err) })
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (t *Tail) read(ctx context.Context) error {
	var seen time.Time
	if v := t.View(); len(v.Lines) > 0 {
		seen = v.Lines[len(v.Lines)-1].At
	}
	for line, err := range t.lines(ctx) {
		if err != nil {
			return err
		}
		if !seen.IsZero() && !line.At.After(seen) {
			continue // it came before the stream broke
		}
		seen = time.Time{}
		t.set(func() {
			t.problem = ""
			t.version++
			t.kept = append(t.kept, line)
			if len(t.kept) >= 2*maxLines {
				t.kept = append(make([]console.LogLine, 0, 2*maxLines), t.kept[len(t.kept)-maxLines:]...)
			}
		})
	}
	return errEnded
}

func (t *Tail) set(change func()) {
	t.mu.Lock()
	change()
	t.mu.Unlock()
	signal(t.news)
}

// View is what there is now.
func (t *Tail) View() TailView {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TailView{Lines: t.kept[max(len(t.kept)-maxLines, 0):], Version: t.version, Problem: t.problem}
}
