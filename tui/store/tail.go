package store

import (
	"context"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/console"
)

// maxLines bounds how many log lines are kept.
const maxLines = 5000

// Tail follows log lines, keeping the newest few thousand.
type Tail struct {
	Query console.LogQuery
	port  console.Port
	wake  func()

	mu      sync.Mutex
	lines   []console.LogLine
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
	return &Tail{Query: q, port: port, wake: wake, news: make(chan struct{}, 1)}
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
	for line, err := range t.port.Logs(ctx, t.Query) {
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
			t.lines = append(t.lines, line)
			if len(t.lines) >= 2*maxLines {
				t.lines = append(make([]console.LogLine, 0, 2*maxLines), t.lines[len(t.lines)-maxLines:]...)
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
	return TailView{Lines: t.lines[max(len(t.lines)-maxLines, 0):], Version: t.version, Problem: t.problem}
}
