package backup_test

import (
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

func TestETA(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		done, total int64
		want        time.Duration
	}{
		{50, 100, 10 * time.Second}, {100, 100, 0}, {120, 100, 0}, {50, 0, -1},
		{272, 33_600_000, -1}, // a rate of nothing says nothing
	} {
		p := backup.Progress{Done: c.done, Total: c.total, Elapsed: 10 * time.Second}
		if got := p.ETA(); got != c.want {
			t.Errorf("%d of %d: %v, want %v", c.done, c.total, got, c.want)
		}
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	var pace backup.Pace
	done := int64(0)
	at := func(second int, more int64) backup.Progress {
		done += more
		return pace.Of(backup.Progress{Done: done, Total: 10_000, Elapsed: time.Duration(second) * time.Second})
	}
	at(0, 0)
	for s := range 10 {
		if p := at(s+1, 100); p.Rate() < 99 || p.Rate() > 101 {
			t.Errorf("after %d s at 100 it says %v", s+1, p.Rate())
		}
	}
	if p := at(100, 0); p.Rate() > 2 {
		t.Errorf("after standing still for 90 s it says %v", p.Rate())
	}
	for s := range 30 {
		at(101+s, 200)
	}
	if p := at(131, 200); p.Rate() < 180 || p.Rate() > 200 || p.ETA() > 20*time.Second {
		t.Errorf("going on at 200 it says %v, %v left", p.Rate(), p.ETA())
	}
	if p := pace.Of(backup.Progress{Done: 50, Elapsed: time.Second}); p.Rate() != 50 {
		t.Errorf("another step has a pace of its own: %v", p.Rate())
	}
}
