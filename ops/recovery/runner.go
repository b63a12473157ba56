package recovery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// Outcome is what became of starting a job: who held it where somebody else did, or the attempt.
type Outcome struct {
	Kind    Kind            `json:"kind"`
	Ran     bool            `json:"ran"`
	Attempt *backup.Attempt `json:"attempt,omitempty"`
	Says    string          `json:"says"` // why it wasn't run, or what came of it
}

// Runner starts the jobs of the schedule when they are due. That only one of several runners does each is the doing of the
// job itself, by a lease in the repository.
type Runner struct {
	Monitor *Monitor
	Do      func(ctx context.Context, k Kind) (Outcome, error)
	Note    func(ctx context.Context, o Outcome) error // to the journal
	Log     *slog.Logger
	Every   time.Duration // between two looks at what is due; 5 s where zero
}

// Run starts jobs until the context ends, each kind beside the others.
func (r *Runner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, k := range Kinds() {
		if !r.Monitor.Schedule[k].Off() {
			wg.Go(func() { r.watch(ctx, k) })
		}
	}
	wg.Wait()
	return ctx.Err()
}

func (r *Runner) watch(ctx context.Context, k Kind) {
	every := r.Every
	if every == 0 {
		every = 5 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var pause time.Time
	var known time.Time // what was seen when the job was last started
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f, ok := r.Monitor.Facts()
		if !ok || time.Now().Before(pause) || !f.At.After(known) {
			continue
		}
		if k != Backup && len(f.Heads) == 0 {
			continue // there is nothing yet that it could work on
		}
		if _, due := r.Monitor.Schedule.Due(k, f.Attempts[k], time.Now()); !due {
			continue
		}
		pause = r.start(ctx, k)
		known = time.Now()
		r.Monitor.Wake()
	}
}

// start does a job, and says until when not to try again where nothing in the repository does.
func (r *Runner) start(ctx context.Context, k Kind) (pause time.Time) {
	r.Log.Info("a scheduled job begins", "job", k)
	o, err := r.Do(ctx, k)
	if ctx.Err() != nil {
		return pause
	}
	if err != nil {
		r.Log.Error("a scheduled job could not be started", "job", k, "error", err)
		o = Outcome{Kind: k, Says: err.Error()}
		pause = time.Now().Add(firstRetry)
	}
	if !o.Ran && err == nil {
		r.Log.Info("a scheduled job was not this one's to do", "job", k, "because", o.Says)
		return time.Now().Add(time.Minute)
	}
	if err := r.Note(ctx, o); err != nil {
		r.Log.Warn("a scheduled job's result could not be written to the journal", "job", k, "error", err)
	}
	return pause
}
