package main

import (
	"context"
	"fmt"
	"slices"
)

// act is one command of the play and the exit status it must end with.
type act struct {
	say  string
	args []string
	want int
}

var acts = []act{
	{"one pod after the other", []string{"rollout", "start", "v2", "--strategy", "rolling", "--bake", "2s", "--watch"}, 0},
	{"back in one switch: a second set of pods, then the Service's selector", []string{"rollout", "start", "v1", "--strategy", "blue-green", "--bake", "2s", "--keep", "5s", "--watch"}, 0},
	{"what was kept warm goes and the release moves home; then a growing share of the pods", []string{"rollout", "start", "v2", "--strategy", "canary", "--weights", "25,50,100", "--bake", "3s", "--watch"}, 0},
	{"a release that ends as soon as it has begun: it never gets traffic", []string{"rollout", "start", "crash", "--strategy", "canary", "--weights", "25,100", "--bake", "2s", "--watch"}, 5},
	{"a person goes back to an older release", []string{"rollback", "--to", "v1", "--reason", "demonstration"}, 0},
}

// play runs the acts, and ends with the line that counts.
func (s *stage) play(ctx context.Context) error {
	acts := append([]act{{"what is there, unknown to Covet until now", []string{"status"}, 0}}, acts...)
	rollouts := 0
	for _, a := range acts {
		fmt.Printf("\n── %s\n", a.say)
		got, err := s.run(ctx, a.args...)
		if err != nil {
			return err
		}
		if got != a.want {
			return fmt.Errorf("covetctl %v ended with %d, want %d", a.args, got, a.want)
		}
		if a.args[0] == "rollback" || slices.Contains(a.args, "start") {
			rollouts++
		}
	}
	if s.load == nil {
		fmt.Printf("\ndemo-k8s: rollouts=%d pods=simulated\n", rollouts)
		return nil
	}
	s.load.Stop()
	served, failed := s.load.Counts()
	requests, lost := 0, 0
	for _, n := range served {
		requests += n
	}
	for _, f := range failed {
		lost += f.Requests
		fmt.Println(f)
	}
	fmt.Printf("\ndemo-k8s: rollouts=%d pods=real requests=%d failed=%d\n", rollouts, requests+lost, lost)
	if lost > 0 {
		return fmt.Errorf("%d requests failed", lost)
	}
	return nil
}
