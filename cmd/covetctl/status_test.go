package main

import (
	"io"
	"strings"
	"testing"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
)

// It takes half a minute without a ready instance until covetd calls it a P0; status must not call it healthy until then.
func TestStatusIsNotHealthyWithoutInstances(t *testing.T) {
	t.Parallel()
	stable := func(ready, wanted int) console.Status {
		return console.Status{Stable: "v1", Releases: []console.ReleaseStatus{
			{Version: "v1", Weight: 100, Ready: ready, Wanted: wanted}, {Version: "v0", Weight: 0, Ready: 0, Wanted: 4}}}
	}
	down := stable(0, 2)
	down.Health.Service = health.P0
	for _, tc := range []struct {
		st   console.Status
		want string
	}{
		{stable(2, 2), "healthy"},
		{stable(1, 2), "1 of 2 instances ready"},
		{stable(0, 2), "no instance is ready"},
		{down, "P0"},
	} {
		a := newTestApp(answering(), io.Discard, io.Discard)
		if got := a.page().judgement(tc.st); !strings.Contains(got, tc.want) {
			t.Errorf("%+v: %q, want %q", tc.st.Releases[0], got, tc.want)
		}
	}
}
