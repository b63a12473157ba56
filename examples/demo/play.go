package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// act is one command of the play and the exit status it must end with.
type act struct {
	say  string
	args []string
	want int
}

var acts = []act{
	{"a good release, step by step", []string{"rollout", "start", good, "--strategy", "canary", "--weights", "1,10,25,50,100", "--bake", "2s", "--watch"}, 0},
	{"back and forth in one switch", []string{"rollout", "start", first, "--strategy", "blue-green", "--bake", "2s", "--watch"}, 0},
	{"", []string{"rollout", "start", good, "--strategy", "blue-green", "--bake", "2s", "--watch"}, 0},
	{"a bad release: half of its answers are errors, and nobody is watching", []string{"rollout", "start", bad, "--strategy", "canary", "--weights", "10,50,100", "--bake", "20s", "--watch"}, 5},
	{"a person goes back to an older release", []string{"rollback", "--to", first, "--reason", "demonstration"}, 0},
}

// play runs the acts, prints the timeline, and ends with the line that counts.
func play(ctx context.Context, s *stage, l *load) error {
	rolledBack := 0
	for _, a := range acts {
		if a.say != "" {
			fmt.Printf("\n── %s\n", a.say)
		}
		got, err := s.covetctl(ctx, true, a.args...)
		if err == nil && got != a.want {
			err = fmt.Errorf("covetctl %v ended with %d, want %d", a.args, got, a.want)
		}
		if err != nil {
			return errors.Join(err, l.stop(0))
		}
		if got == 5 {
			rolledBack++
		}
	}
	if err := l.stop(time.Second); err != nil {
		return err
	}
	if _, err := s.covetctl(ctx, true, "rollout", "history"); err != nil {
		return err
	}
	fmt.Printf("\n%s answered %d requests with its own errors before it was rolled back\n", bad, l.byBad.Load())
	fmt.Printf("demo: rollouts=%d rolled_back=%d requests=%d failed=%d\n", len(acts), rolledBack, l.requests.Load(), l.failed.Load())
	return nil
}
