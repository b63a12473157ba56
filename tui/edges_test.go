package tui

import (
	"fmt"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
)

// TestOddServices draws every page of services that have next to nothing, or more than there is room for, at every size.
func TestOddServices(t *testing.T) {
	t.Parallel()
	services := map[string]func(*scripted){
		"empty": func(s *scripted) {
			*s = scripted{changed: s.changed, answer: rehearse, status: console.Status{At: t0}, series: s.series}
		},
		"offline":      func(s *scripted) { s.status.Offline, s.status.StartedAt, s.all = true, time.Time{}, nil },
		"first":        func(s *scripted) { s.status.Rollout.From, s.status.Stable = "", "" },
		"past the end": func(s *scripted) { s.status.Rollout.Step = 99 },
		"no steps":     func(s *scripted) { s.status.Rollout.Steps = nil },
		"going back":   func(s *scripted) { s.status.Rollout.Phase, s.status.Rollout.Contained = rollout.Aborting, true },
		"many": func(s *scripted) {
			for i := range 60 {
				s.status.Incidents = append(s.status.Incidents, health.Incident{ID: fmt.Sprint("i-", i), Severity: health.P1, Reason: "a reason that goes on and on and on and on and on and on"})
				s.status.Releases = append(s.status.Releases, console.ReleaseStatus{Version: fmt.Sprint("v9.", i), Role: console.RoleLeaving})
				s.status.Problems = append(s.status.Problems, "the disk is full")
				s.status.Rollout.Steps = append(s.status.Rollout.Steps, rollout.Step{Weight: i})
			}
		},
	}
	for name, change := range services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := rehearsed()
			change(port)
			d := sit(t, port, nil)
			d.m.writeUntil = t0.Add(24 * time.Hour)
			for _, size := range [][2]int{{0, 0}, {1, 1}, {3, 3}, {20, 5}, {40, 10}, {60, 15}, {80, 24}, {99, 80}, {100, 33}, {160, 24}, {200, 60}, {500, 5}} {
				d.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
				d.m.setSize(size[0], size[1])
				for _, key := range []string{"1", "2", "3", "5", "8", "z", "tab", "G", "g", "z", "enter", "esc", "x", "esc", ":", "esc", "?", "esc", "B", "esc", "A", "esc", "S", "enter", "enter", "esc"} {
					d.press(key)
					d.screen()
				}
			}
		})
	}
}
