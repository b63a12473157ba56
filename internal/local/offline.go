package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"os/user"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/workers"
)

// Offline is the console of a covetd that does not run: it answers from the journal, and takes the commands that need
// nothing else, a rollback above all. It holds the journal's lock, so covetd cannot start before the program ends. It
// implements console.Port.
type Offline struct {
	desk *console.Desk
	open *Journal
	dir  string
	who  string
}

// OpenOffline opens the journal of a data directory, which must be there.
func OpenOffline(ctx context.Context, dataDir string) (*Offline, error) {
	if _, err := os.Stat(JournalPath(dataDir)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &console.Error{Code: console.CodeUnreachable, Message: fmt.Sprintf("there is no journal in %s: no covetd has run there", dataDir),
				Hint: "start covetd, or name its data directory with --data-dir"}
		}
		return nil, fmt.Errorf("look for the journal: %w", err)
	}
	place, err := ReadPlace(dataDir)
	if err != nil {
		return nil, err
	}
	j, err := OpenJournal(dataDir, time.Second)
	if errors.Is(err, ErrJournalBusy) {
		return nil, &console.Error{Code: console.CodeLocked, Message: err.Error(), Hint: "a covetd is starting or stopping there: try again in a few seconds"}
	}
	if errors.Is(err, ErrJournalDamaged) {
		return nil, &console.Error{Code: console.CodeInternal, Message: err.Error(), Hint: "covetd will not start like this either"}
	}
	if err != nil {
		return nil, err
	}
	keeper, err := rollout.OpenKeeper(ctx, j)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return &Offline{open: j, dir: dataDir, who: WhoAmI(), desk: &console.Desk{
		Keeper: keeper, Matrix: health.DefaultMatrix(), Log: slog.New(slog.DiscardHandler),
		Info: console.Info{Service: place.Service, Environment: place.Environment, Platform: "local"},
	}}, nil
}

// Close lets go of the journal, so that covetd can start.
func (o *Offline) Close() error { return o.open.Close() }

// WhoAmI is the name of whoever runs this program.
func WhoAmI() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// Ask implements console.Port.
func (o *Offline) Ask(ctx context.Context, op console.Op, q console.Query, out any) error {
	answer, err := o.desk.Ask(ctx, op, q)
	if err != nil {
		return err
	}
	return console.Answer(answer, out)
}

// Do implements console.Port.
func (o *Offline) Do(ctx context.Context, op console.Op, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	answer, err := o.desk.Do(ctx, console.Caller{Name: o.who}, op, body)
	if err != nil {
		return err
	}
	return console.Answer(answer, out)
}

// Watch implements console.Port: it yields what is there, and ends, since nothing more can come.
func (o *Offline) Watch(ctx context.Context, after journal.Seq) iter.Seq2[console.Update, error] {
	return func(yield func(console.Update, error) bool) {
		for u, err := range o.desk.Watch(ctx, after) {
			if !yield(u, err) || u.Status != nil {
				return
			}
		}
	}
}

// Logs implements console.Port: it yields what the workers said until covetd went. Nothing can follow.
func (o *Offline) Logs(ctx context.Context, q console.LogQuery) iter.Seq2[console.LogLine, error] {
	kept := workers.KeptLogs(ctx, o.dir, LogFilter(q))
	return func(yield func(console.LogLine, error) bool) {
		for l, err := range kept {
			if !yield(LogLine(l), err) || err != nil {
				return
			}
		}
		if q.Follow {
			yield(console.LogLine{}, &console.Error{Code: console.CodeUnreachable, Message: "covetd is not running: no more lines can come",
				Hint: "start covetd, and say it again"})
		}
	}
}
