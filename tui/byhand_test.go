package tui

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// TestByHand shows the console over a scripted service to a person: COVET_BY_HAND=1 in a terminal, COVET_INSTANCES for
// more of them, COVET_DOWN for none at all, COVET_IDLE for seconds after which it leaves and says what it cost.
func TestByHand(t *testing.T) {
	if os.Getenv("COVET_BY_HAND") == "" {
		t.Skip("for a person at a terminal: COVET_BY_HAND=1")
	}
	s := canary()
	if n, err := strconv.Atoi(os.Getenv("COVET_INSTANCES")); err == nil {
		s.all = nil
		for i := range n {
			state := rollout.Ready
			if i%97 == 0 {
				state = rollout.BackOff
			}
			s.all = append(s.all, instance("v1.0.0", i, state))
		}
	}
	if os.Getenv("COVET_DOWN") != "" {
		s.down = errNoSocket
	}
	shift := time.Since(t0)
	now := func() time.Time { return time.Now().Add(-shift) }
	s.answer = rehearse
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if n, err := strconv.Atoi(os.Getenv("COVET_IDLE")); err == nil {
		time.AfterFunc(time.Duration(n)*time.Second, cancel)
	}
	go func() {
		for ctx.Err() == nil {
			time.Sleep(time.Second)
			s.change(func() {
				s.status.At = now()
				s.status.Traffic = point(now().Truncate(time.Second), 1)
				if _, err := os.Stat("/tmp/covet-cut"); err == nil {
					s.down = errNoSocket
				} else if os.Getenv("COVET_DOWN") == "" {
					s.down = nil
				}
			})
		}
	}()
	err := Run(ctx, Options{
		Port: s, Target: "local:/run/covet/covetd.sock", User: "ada", ReadOnly: true, Now: now, Theme: os.Getenv("COVET_THEME"),
		ASCII: os.Getenv("COVET_ASCII") != "", Accessible: os.Getenv("COVET_ACCESSIBLE") != "",
	})
	t.Log(err)
}

// rehearse answers commands with plans that look like real ones.
func rehearse(op console.Op, in any) (any, error) {
	switch in := in.(type) {
	case console.StartRequest:
		return answerPlan(op, in.Common, "v1.0.0", in.To)
	case console.RollbackRequest:
		return answerPlan(op, in.Common, "v1.1.0", "v1.0.0")
	case console.Target:
		return answerPlan(op, in.Common, "v1.1.0", "v1.0.0")
	}
	return nil, &console.Error{Code: console.CodeRefused, Message: "not in this script", Hint: "try another"}
}

func answerPlan(op console.Op, c console.Common, from, to string) (any, error) {
	if !c.Plan {
		return console.Ack{Seq: 10, Message: "accepted: " + string(op)}, nil
	}
	return console.Plan{
		Hash: "9f3c2a77b1d0", Op: op, Service: "shop", Env: "production", From: from, To: to,
		Summary: "undo r-3: all traffic from " + from + " back to " + to,
		Steps: []console.PlanStep{
			{Do: "have 4 instances of " + to + " ready", Touches: to}, {Do: "traffic 100% to " + to, Touches: from + ", " + to},
			{Do: from + " finishes its requests and stops", Touches: from},
		},
		Changes:  []rollout.Change{{Field: "env SHOP_BASKET", From: "new", To: "old"}, {Field: "instances", From: "4", To: "6"}},
		Warnings: []string{"v1.1.0 will have 2 instances where v1.0.0 has 4"},
		Undo:     "covetctl rollout retry begins it anew", At: t0,
	}, nil
}
