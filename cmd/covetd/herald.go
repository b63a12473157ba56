package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/notice"
)

// herald tells people what the journal says they should know.
type herald struct {
	keeper      *rollout.Keeper
	environment string
	service     string
	notify      func(context.Context, notice.Notice) error
	mark        string // the file with the number of the last event that was told
	log         *slog.Logger
	after       journal.Seq // the last event that was told
}

// told are the kinds of events that somebody should hear of at night.
var told = map[journal.Kind]bool{
	health.IncidentOpened: true, health.IncidentEscalated: true, rollout.RolloutWaiting: true, rollout.RolloutPaused: true,
	rollout.RolloutContained: true, rollout.RolloutAborting: true, rollout.RolloutEnded: true,
}

// begin finds where the process before stopped. What happened before there was a mark is old.
func (h *herald) begin() (err error) {
	h.after, err = h.last()
	return err
}

// run tells of each event after where it begins, once.
func (h *herald) run(ctx context.Context) error {
	for {
		changed := h.keeper.Changed()
		events, err := h.keeper.Since(ctx, h.after, int(^uint(0)>>1))
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := h.tell(ctx, e); err != nil {
				return err
			}
			h.after = e.Seq
		}
		if len(events) > 0 {
			if err := h.note(h.after); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// retryTelling is how long a notice that the queue does not take is kept back.
const retryTelling = 5 * time.Second

// tell puts a notice into the queue. Where that fails it tries again: the events that follow wait, the service does not.
func (h *herald) tell(ctx context.Context, e journal.Event) error {
	n, ok := h.notice(e)
	for ok {
		err := h.notify(ctx, n)
		if err == nil {
			return nil
		}
		h.log.Warn("people could not be told", "of", n.Subject, "error", err)
		wait := time.NewTimer(retryTelling)
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
	return nil
}

// notice is what to say of an event.
func (h *herald) notice(e journal.Event) (notice.Notice, bool) {
	if !told[e.Kind] {
		return notice.Notice{}, false
	}
	said := console.Describe(e)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nservice  %s/%s\nwhen     %s\nby       %s\n", said.Text, h.environment, h.service, e.At.Format(time.RFC3339), e.By)
	fields := map[string]string{"subject": e.Subject, "by": e.By, "environment": h.environment, "seq": strconv.FormatUint(uint64(e.Seq), 10)}
	if e.Kind == health.IncidentOpened || e.Kind == health.IncidentEscalated {
		var i health.Incident
		if e.Decode(&i) == nil {
			fields["severity"] = string(i.Severity)
			fmt.Fprintf(&b, "severity %s\naction   %s\napproval %s\n", i.Severity, i.Action, i.Approver)
			if !i.Deadline.IsZero() {
				fmt.Fprintf(&b, "due      %s\n", i.Deadline.Format(time.RFC3339))
			}
		}
	}
	b.WriteString("\nLook: covetctl status      Go back: covetctl rollback\n")
	return notice.Notice{At: e.At, Kind: string(e.Kind), Subject: fmt.Sprintf("[%s/%s] %s", h.environment, h.service, said.Text), Text: b.String(), Fields: fields}, true
}

// last reads the mark.
func (h *herald) last() (journal.Seq, error) {
	text, err := os.ReadFile(h.mark)
	if errors.Is(err, fs.ErrNotExist) {
		return h.keeper.State().Seq, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read what people were told: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s holds no number: remove it, and people are told of what happens from then on", h.mark)
	}
	return journal.Seq(n), nil
}

// note writes the mark, whole or not at all. After a crash in between people are told once more.
func (h *herald) note(at journal.Seq) error {
	next := h.mark + ".next"
	if err := os.WriteFile(next, []byte(strconv.FormatUint(uint64(at), 10)+"\n"), 0o600); err != nil {
		return fmt.Errorf("note what people were told: %w", err)
	}
	if err := os.Rename(next, h.mark); err != nil {
		return fmt.Errorf("note what people were told: %w", err)
	}
	return nil
}

func markOf(dataDir string) string { return filepath.Join(dataDir, "told") }
