package tui

import (
	"fmt"
	"testing"

	"github.com/covetpy/covet/ops/rollout"
)

// loaded waits until everything that is asked for has been answered.
func (s *shown) loaded() { s.t.Helper(); s.press("3"); s.has("r-2"); s.press("[") }

func TestScreens(t *testing.T) {
	t.Parallel()
	sizes := []struct{ w, h int }{{80, 24}, {120, 40}, {200, 60}, {40, 10}, {500, 5}}
	pages := []struct{ key, name, sign string }{{"1", "dashboard", ""}, {"2", "instances", ""}, {"3", "rollouts", ""}, {"5", "incidents", ""}, {"8", "audit", ""}}
	for _, size := range sizes {
		for _, p := range pages {
			t.Run(fmt.Sprintf("%s-%dx%d", p.name, size.w, size.h), func(t *testing.T) {
				t.Parallel()
				s := show(t, canary(), size.w, size.h, nil)
				if size.h > 10 {
					s.loaded()
				}
				s.press(p.key)
				s.golden(fmt.Sprintf("%s-%dx%d", p.name, size.w, size.h))
			})
		}
	}
}

func TestScreenASCII(t *testing.T) {
	t.Parallel()
	s := show(t, canary(), 120, 40, func(o *Options) { o.ASCII = true })
	s.loaded()
	s.golden("ascii-120x40")
	for i, line := range s.term.Text() {
		if line > 126 {
			t.Fatalf("character %d is %q", i, line)
		}
	}
}

func TestScreenCJK(t *testing.T) {
	t.Parallel()
	port := canary()
	port.status.Service = "商店"
	for i := range port.all {
		port.all[i].ID = fmt.Sprintf("商店-实例-%d", i)
		port.all[i].State = rollout.Unready
		port.all[i].Reason = "데이터베이스 연결 거부"
	}
	s := show(t, port, 80, 24, nil)
	s.press("2")
	s.golden("cjk-80x24")
}
