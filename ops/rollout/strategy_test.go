package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

func TestStepsOfEveryShape(t *testing.T) {
	t.Parallel()
	for _, strategy := range Strategies() {
		for stable := 0; stable <= 7; stable++ {
			for n := 1; n <= 7; n++ {
				tuning, err := Tuning{Strategy: strategy}.Normalize()
				if err != nil {
					t.Fatal(err)
				}
				checkSteps(t, strategy, stable, n, Steps(tuning, stable, n))
			}
		}
	}
}

// checkSteps holds what any plan must: it ends with all the traffic and all the candidates, neither ever falls, and with
// what is left of the stable release there are never fewer instances than before or after.
func checkSteps(t *testing.T, strategy Strategy, stable, n int, steps []Step) {
	t.Helper()
	last := steps[len(steps)-1]
	if last.Weight != 100 || last.Candidate != n {
		t.Errorf("%s %d→%d ends with %+v", strategy, stable, n, last)
	}
	for i, s := range steps {
		if s.Weight < 0 || s.Weight > 100 || s.Candidate < 1 || s.Candidate > n || s.Stable < 0 || s.Stable > stable {
			t.Errorf("%s %d→%d step %d: %+v", strategy, stable, n, i, s)
		}
		if s.Weight < 100 && s.Stable == 0 && stable > 0 {
			t.Errorf("%s %d→%d step %d: %d%% of the traffic has nowhere to go", strategy, stable, n, i, 100-s.Weight)
		}
		if s.Candidate+s.Stable < min(stable, n) {
			t.Errorf("%s %d→%d step %d: only %d instances", strategy, stable, n, i, s.Candidate+s.Stable)
		}
		if i > 0 && (s.Weight < steps[i-1].Weight || s.Candidate < steps[i-1].Candidate || s.Stable > steps[i-1].Stable) {
			t.Errorf("%s %d→%d step %d goes backwards: %+v after %+v", strategy, stable, n, i, s, steps[i-1])
		}
	}
}

func TestTuningFaults(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		tuning Tuning
		want   string
	}{
		"unknown strategy":        {Tuning{Strategy: "big-bang"}, "choose one of canary"},
		"weights that fall":       {Tuning{Weights: []int{10, 5, 100}}, "ascending"},
		"weights that never end":  {Tuning{Weights: []int{10, 50}}, "must be 100"},
		"weights of a rolling":    {Tuning{Strategy: Rolling, Weights: []int{100}}, "go with the canary"},
		"approval after no step":  {Tuning{Approve: []int{33}}, "no step has that weight"},
		"negative bake":           {Tuning{Bake: journal.Duration(-time.Second)}, "negative"},
		"more instances than any": {Tuning{Instances: MaxInstances + 1}, "instances"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := c.tuning.Normalize(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

func TestReleaseFaultsAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := NewRelease("no good!", Manifest{Instances: -1, ReadyPath: "ready", StopGrace: -1, Env: map[string]string{"PORT": "1"}}, start, "alice")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"version", "command", "instances", "ready path", "stop grace", "PORT"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestChangesHideSecrets(t *testing.T) {
	t.Parallel()
	a := Manifest{Command: []string{"run"}, Env: map[string]string{"DATABASE_PASSWORD": "hunter2", "COLOUR": "red"}}.WithDefaults()
	b := Manifest{Command: []string{"run", "-x"}, Env: map[string]string{"DATABASE_PASSWORD": "swordfish", "COLOUR": "blue"}}.WithDefaults()
	got := Changes(a, b)
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	for _, c := range got {
		if strings.Contains(c.From+c.To, "hunter2") || strings.Contains(c.From+c.To, "swordfish") {
			t.Errorf("a secret is shown: %+v", c)
		}
	}
	if got[1].Field != "env COLOUR" || got[1].From != "red" || got[1].To != "blue" {
		t.Errorf("%+v", got[1])
	}
}
