package rollout

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestNothingThatARollbackMayNeedIsSuperfluous(t *testing.T) {
	s := State{Releases: map[string]Release{}, Stable: "v5", Previous: "v2", Active: &Rollout{From: "v5", To: "v9"}, Warm: &Warm{Version: "v3"},
		History: []Rollout{{Purpose: Deploy, Phase: Succeeded, From: "v1", To: "v2"}, {Purpose: Deploy, Phase: Succeeded, From: "v2", To: "v5"}}}
	for i := range 10 {
		v := fmt.Sprint("v", i)
		s.Releases[v] = Release{Version: v, AddedAt: start.Add(time.Duration(i) * time.Hour)}
	}
	for keep, want := range map[int][]string{0: {"v0", "v4", "v6", "v7", "v8"}, 3: {"v0", "v4", "v6"}, 5: {"v0", "v4"}, 10: nil, 50: nil} {
		if got := Superfluous(s, keep); !slices.Equal(got, want) {
			t.Errorf("keeping %d: %v, want %v", keep, got, want)
		}
	}
}
