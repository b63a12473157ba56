package console

import (
	"context"
	"fmt"
	"strings"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// KeepReleases is how many releases are kept where nobody says.
const KeepReleases = 20

// PruneRequest asks to forget releases that nothing needs any more.
type PruneRequest struct {
	Keep int `json:"keep"` // the newest ones, beside those that run or that a rollback may go to
	Common
}

// Sweeper knows what else goes with releases that are forgotten.
type Sweeper interface {
	// Leftovers lists what only the releases given need, in words.
	Leftovers(ctx context.Context, s rollout.State, gone []string) ([]string, error)
}

func (d *Desk) pruneReleases(ctx context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[PruneRequest](body)
	if err != nil {
		return nil, nil, err
	}
	if in.Keep < 1 {
		return nil, nil, fail(CodeUsage, "covetctl release prune --keep 10", "keep %d: at least 1 release must be kept", in.Keep)
	}
	gone := rollout.Superfluous(s, in.Keep)
	plan := Plan{
		Op: PruneReleases, Service: d.Info.Service, Env: d.Info.Environment, At: d.now(), Hash: hash(s, PruneReleases, rollout.Rollout{Reason: strings.Join(gone, " ")}, "", ""),
		Summary: fmt.Sprintf("forget %d of %d releases", len(gone), len(s.Releases)), Undo: "add them again; their records stay in the audit log",
	}
	for _, v := range gone {
		plan.Steps = append(plan.Steps, PlanStep{Do: "forget release " + v, Touches: v})
	}
	if d.Sweeper != nil && in.Plan {
		more, err := d.Sweeper.Leftovers(ctx, s, gone)
		if err != nil {
			return nil, nil, err
		}
		for _, what := range more {
			plan.Steps = append(plan.Steps, PlanStep{Do: "delete " + what, Touches: what})
		}
	}
	if answer, err := planned(in.Common, plan); answer != nil || err != nil {
		return nil, answer, err
	}
	var events []journal.Event
	for _, v := range gone {
		events = append(events, journal.New(d.now(), who, rollout.ReleaseRemoved, v, nil))
	}
	message := fmt.Sprintf("%d releases are forgotten, %d are kept", len(gone), len(s.Releases)-len(gone))
	if len(gone) > 0 {
		message += ": gone are " + strings.Join(gone, ", ")
	}
	return events, Ack{Message: message}, nil
}
