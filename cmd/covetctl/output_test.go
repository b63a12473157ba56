package main

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

func answering() *fake {
	ended := canary()
	ended.ID, ended.Phase, ended.Message, ended.EndedAt = "r-2", rollout.RolledBack, "readiness answers 500", ago(time.Hour)
	ended.StartedAt = ago(time.Hour + 90*time.Second)
	closed := incident()
	closed.ID, closed.ClosedAt, closed.ClosedBy = "i-1", ago(time.Hour), "ada"
	audit := []console.AuditEntry{
		{Seq: 12, At: ago(time.Minute), By: "bob", Kind: console.RequestRefused, Text: "rollback refused: v1.0.0 is what serves already"},
		{Seq: 11, At: ago(2 * time.Minute), By: "covetd", Kind: rollout.RolloutShifted, Subject: "r-3", Text: "traffic is at 10%"},
		{Seq: 10, At: ago(3 * time.Minute), By: "ada", Kind: rollout.RolloutStarted, Subject: "r-3", Text: "canary r-3 begins: v1.0.0 → v1.1.0: new checkout"},
	}
	timeline := console.Timeline{Rollout: canary(), Events: []console.AuditEntry{audit[2], audit[1]}}
	return &fake{
		ask: map[console.Op]any{
			console.GetStatus:    busy(),
			console.GetReleases:  twoReleases(),
			console.GetRelease:   twoReleases()[0],
			console.GetRollouts:  []rollout.Rollout{canary(), ended},
			console.GetRollout:   timeline,
			console.GetIncidents: []health.Incident{incident(), closed},
			console.GetIncident:  incident(),
			console.GetAudit:     audit,
		},
		do: map[console.Op]any{
			console.StartRollout: plan(),
			console.AbortRollout: plan(),
			console.Rollback:     plan(),
			console.PauseRollout: console.Ack{Seq: 21, Message: "r-3 stays where it is, at 10%", Rollout: timelineRollout()},
			console.OpenIncident: incident(),
			console.AckIncident:  incident(),
		},
		lines: []console.LogLine{
			{At: noon, Release: "v1.1.0", Instance: "v1.1.0-0", Stream: "stdout", Text: "listening on 4001"},
			{At: noon, Release: "v1.1.0", Instance: "v1.1.0-0", Stream: "stderr", Text: "panic: \x1b[2Jboom"},
		},
	}
}

func timelineRollout() *rollout.Rollout { r := canary(); return &r }

func plan() console.Plan {
	r := canary()
	return console.Plan{
		Hash: "0a1b2c3d4e5f", Op: console.StartRollout, Service: "shop", Env: "production", Summary: "canary v1.0.0 → v1.1.0 in 5 steps, about 5m8s",
		From: "v1.0.0", To: "v1.1.0", Rollout: &r, At: noon, Duration: journal.Duration(308 * time.Second),
		Steps: []console.PlanStep{
			{Do: "traffic 1%, candidate 1, stable 4, watch 1m", Touches: "v1.0.0, v1.1.0", Duration: journal.Duration(62 * time.Second)},
			{Do: "v1.1.0 is the stable release; v1.0.0 stays warm for 2m, then stops", Touches: "v1.0.0"},
		},
		Changes:  []rollout.Change{{Field: "env LOG", From: "", To: "info"}, {Field: "command", From: `["/srv/shop-v1.0.0"]`, To: `["/srv/shop-v1.1.0"]`}},
		Warnings: []string{"v1.1.0 will have 2 instances where v1.0.0 has 4"},
		Undo:     "under 2 s while it runs; no data is lost",
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	offline := busy()
	offline.Offline, offline.Rollout, offline.Incidents, offline.Problems = true, nil, nil, nil
	ended := canary()
	ended.Phase, ended.EndedAt = rollout.Succeeded, ago(time.Minute)
	offline.Last = &ended
	down := answering()
	down.ask[console.GetStatus] = offline
	empty := &fake{ask: map[console.Op]any{
		console.GetReleases: []rollout.Release{}, console.GetRollouts: []rollout.Rollout{}, console.GetIncidents: []health.Incident{},
		console.GetStatus: console.Status{Service: "shop", Platform: "local", Version: "v1.2.3"},
	}}
	cases := []struct {
		golden string
		port   *fake
		args   []string
	}{
		{"status", answering(), []string{"status"}},
		{"status-ascii", answering(), []string{"status", "--ascii"}},
		{"status-offline", down, []string{"status"}},
		{"status-empty", empty, []string{"status"}},
		{"release-list", answering(), []string{"release", "list"}},
		{"release-list-empty", empty, []string{"release", "list"}},
		{"release-show", answering(), []string{"release", "show", "v1.1.0"}},
		{"rollout-history", answering(), []string{"rollout", "history"}},
		{"rollout-history-empty", empty, []string{"rollout", "history"}},
		{"rollout-status", answering(), []string{"rollout", "status"}},
		{"rollout-plan", answering(), []string{"rollout", "plan", "v1.1.0", "--reason", "it's new"}},
		{"rollout-pause", answering(), []string{"rollout", "pause"}},
		{"incident-list", answering(), []string{"incident", "list"}},
		{"incident-list-all", answering(), []string{"incident", "list", "--all"}},
		{"incident-list-empty", empty, []string{"incident", "list"}},
		{"incident-show", answering(), []string{"incident", "show", "i-2"}},
		{"audit", answering(), []string{"audit"}},
		{"logs", answering(), []string{"logs"}},
		{"version", answering(), []string{"version"}},
	}
	for _, tc := range cases {
		got := ctl(t, tc.port, tc.args...)
		if got.code != 0 || got.err != "" {
			t.Errorf("%v: exit %d, %s", tc.args, got.code, got.err)
		}
		for line := range strings.Lines(got.out) {
			if strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
				t.Errorf("%v: the line %q ends in spaces", tc.args, line)
			}
		}
		golden(t, tc.golden, got.out)
	}
}

// TestDocuments holds that -o json is exactly the console's type, and that -o yaml says the same.
func TestDocuments(t *testing.T) {
	t.Parallel()
	port := answering()
	cases := []struct {
		args []string
		want any
	}{
		{[]string{"status"}, busy()},
		{[]string{"release", "list"}, twoReleases()},
		{[]string{"release", "show", "v1.1.0"}, twoReleases()[0]},
		{[]string{"rollout", "history"}, port.ask[console.GetRollouts]},
		{[]string{"rollout", "status"}, port.ask[console.GetRollout]},
		{[]string{"rollout", "plan", "v1.1.0"}, plan()},
		{[]string{"rollout", "pause"}, port.do[console.PauseRollout]},
		{[]string{"rollback", "--plan"}, plan()},
		{[]string{"incident", "list", "--all"}, port.ask[console.GetIncidents]},
		{[]string{"incident", "show"}, incident()},
		{[]string{"incident", "ack"}, incident()},
		{[]string{"audit"}, port.ask[console.GetAudit]},
		{[]string{"version"}, build{Version: "v1.2.3", Revision: "0123456789abcdef", Go: "go1.26"}},
	}
	for _, tc := range cases {
		var want bytes.Buffer
		if err := render.JSON(&want, tc.want); err != nil {
			t.Fatal(err)
		}
		got := ctl(t, port, append(tc.args, "-o", "json")...)
		if got.code != 0 || got.out != want.String() {
			t.Errorf("%v -o json: exit %d\n%swant\n%s", tc.args, got.code, got.out, want.String())
		}
		var fromJSON, fromYAML any
		if err := json.Unmarshal(want.Bytes(), &fromJSON); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(ctl(t, port, append(tc.args, "-o", "yaml")...).out), &fromYAML); err != nil {
			t.Fatal(err)
		}
		if raw, err := json.Marshal(fromYAML); err != nil || json.Unmarshal(raw, &fromYAML) != nil || !reflect.DeepEqual(fromYAML, fromJSON) {
			t.Errorf("%v -o yaml says %v, want %v", tc.args, fromYAML, fromJSON)
		}
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"release list -q":    "v1.1.0\nv1.0.0\n",
		"rollout history -q": "r-3\nr-2\n",
		"rollout pause -q":   "r-3\n",
		"incident list -q":   "i-2\n",
		"rollback --plan -q": "0a1b2c3d4e5f\n",
		"status -q":          "v1.0.0\n",
	}
	for args, want := range cases {
		if got := ctl(t, answering(), strings.Fields(args)...); got.out != want || got.err != "" || got.code != 0 {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}
}

func TestColourOnlyForAPersonWhoWantsIt(t *testing.T) {
	t.Parallel()
	colours := func(terminal bool, env map[string]string, args ...string) bool {
		var out, errOut bytes.Buffer
		a := newTestApp(answering(), &out, &errOut, append([]string{"status"}, args...)...)
		socket := a.env
		a.env = func(k string) string { return env[k] + socket(k) }
		a.terminal = func(io.Writer) bool { return terminal }
		if code := a.run(t.Context()); code != 0 {
			t.Fatalf("exit %d: %s", code, errOut.String())
		}
		return strings.Contains(out.String(), "\x1b[")
	}
	if !colours(true, nil) {
		t.Error("no colour at a terminal")
	}
	for name, got := range map[string]bool{
		"a pipe":     colours(false, nil),
		"NO_COLOR":   colours(true, map[string]string{"NO_COLOR": "1"}),
		"TERM=dumb":  colours(true, map[string]string{"TERM": "dumb"}),
		"--no-color": colours(true, nil, "--no-color"),
	} {
		if got {
			t.Errorf("%s: coloured all the same", name)
		}
	}
}

func TestPlanNamesTheExactCommand(t *testing.T) {
	t.Parallel()
	cases := []struct {
		args []string
		want string
	}{
		{[]string{"rollout", "plan", "v1.1.0", "--bake", "1m"}, "covetctl rollout start v1.1.0 --bake 1m --plan-hash HASH"},
		{[]string{"rollback", "--plan", "--reason", "it's broken"}, `covetctl rollback --reason 'it'\''s broken' --plan-hash HASH`},
		{[]string{"rollback", "--plan=true", "--plan-hash", "old", "--to=v1"}, "covetctl rollback --to=v1 --plan-hash HASH"},
		{[]string{"--socket", "/a b", "rollout", "abort", "--plan", "--plan-hash=old", "--", "r-1"}, "covetctl --socket '/a b' rollout abort --plan-hash HASH -- r-1"},
	}
	for _, tc := range cases {
		if got := exactly(tc.args, "HASH"); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.args, got, tc.want)
		}
	}
}
