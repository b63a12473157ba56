package tui

import (
	"testing"

	"github.com/covetpy/covet/ops/rollout"
)

// crowd is a service of n instances.
func crowd(n int) *scripted {
	s := rehearsed()
	s.all = nil
	for i := range n {
		state := rollout.Ready
		if i%97 == 0 {
			state = rollout.BackOff
		}
		s.all = append(s.all, instance("v1.0.0", i, state))
	}
	return s
}

// BenchmarkKey10000 is a key and the frame that answers it, with 10,000 instances at 200x60.
func BenchmarkKey10000(b *testing.B) {
	d := sit(b, crowd(10_000), nil)
	d.m.setSize(200, 60)
	d.press("2")
	keys := []string{"j", "j", "pgdown", "k"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.m.Update(keyOf(keys[i%len(keys)]))
		d.m.View()
	}
}

// BenchmarkFilter10000 is a key typed into the filter, with 10,000 instances.
func BenchmarkFilter10000(b *testing.B) {
	d := sit(b, crowd(10_000), nil)
	d.m.setSize(200, 60)
	d.press("2", "/")
	keys := []string{"9", "backspace"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.m.Update(keyOf(keys[i%len(keys)]))
		d.m.View()
	}
}

// BenchmarkDashboard is one frame of the dashboard at 200x60 with new data.
func BenchmarkDashboard(b *testing.B) {
	d := sit(b, crowd(500), nil)
	d.m.setSize(200, 60)
	b.ReportAllocs()
	for b.Loop() {
		d.m.Update(newsMsg{})
		d.m.View()
	}
}
