package recovery

import (
	"testing"
	"time"
)

func utc(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestCadence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, after, next, last, calendar string }{
		{"0 2 * * *", "2026-03-01 01:59:59", "2026-03-01 02:00:00", "2026-02-28 02:00:00", "*-*-* 02:00:00 UTC"},
		{"@daily", "2026-03-01 02:00:00", "2026-03-02 02:00:00", "2026-03-01 02:00:00", "*-*-* 02:00:00 UTC"},
		{"*/15 * * * *", "2026-03-01 23:45:00", "2026-03-02 00:00:00", "2026-03-01 23:45:00", "*-*-* *:00,15,30,45:00 UTC"},
		{"30 4 * * sun", "2026-03-02 00:00:00", "2026-03-08 04:30:00", "2026-03-01 04:30:00", "Sun *-*-* 04:30:00 UTC"},
		{"0 3 * * 7", "2026-03-02 00:00:00", "2026-03-08 03:00:00", "2026-03-01 03:00:00", "Sun *-*-* 03:00:00 UTC"},
		{"0 4 1 * *", "2026-03-01 04:00:00", "2026-04-01 04:00:00", "2026-03-01 04:00:00", "*-*-01 04:00:00 UTC"},
		{"5 1-3,22 * 6 1-5", "2026-03-01 00:00:00", "2026-06-01 01:05:00", "2025-06-30 22:05:00", "Mon,Tue,Wed,Thu,Fri *-06-* 01,02,03,22:05:00 UTC"},
		{"0 0 29 2 *", "2026-03-01 00:00:00", "2028-02-29 00:00:00", "", "*-02-29 00:00:00 UTC"},
	} {
		got, err := ParseCadence(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if next := got.Next(utc(c.after)); !next.Equal(utc(c.next)) {
			t.Errorf("%s after %s: %s, want %s", c.text, c.after, next, c.next)
		}
		var last time.Time
		if c.last != "" {
			last = utc(c.last)
		}
		if l := got.Last(utc(c.after)); !l.Equal(last) {
			t.Errorf("%s before %s: %s, want %s", c.text, c.after, l, c.last)
		}
		if got.Calendar() != c.calendar {
			t.Errorf("%s for systemd: %s, want %s", c.text, got.Calendar(), c.calendar)
		}
	}
	for _, bad := range []string{"2 * *", "60 * * * *", "* 24 * * *", "0 0 31 2 *", "0 0 1 * 1", "a * * * *", "5-1 * * * *", "*/0 * * * *", "0 2 * * * *", "@never"} {
		if c, err := ParseCadence(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, c)
		}
	}
	off, err := ParseCadence("off")
	if err != nil || !off.Off() || !off.Next(utc("2026-03-01 00:00:00")).IsZero() || off.String() != "off" {
		t.Errorf("off: %v %v", off, err)
	}
}

// Whatever the cadence, the next due time after the last one is in the future, and nothing is due in between.
func FuzzCadence(f *testing.F) {
	for _, s := range []string{"0 2 * * *", "*/7 1-5 * * 1,3", "59 23 31 12 *", "@monthly", "off"} {
		f.Add(s, int64(1772000000))
	}
	f.Fuzz(func(t *testing.T, text string, at int64) {
		c, err := ParseCadence(text)
		if err != nil || c.Off() {
			return
		}
		now := time.Unix(at%(1<<33), 0).UTC()
		next := c.Next(now)
		if !next.After(now) || !c.Next(next.Add(-time.Second)).Equal(next) {
			t.Fatalf("%s after %s: %s", text, now, next)
		}
		if again, err := ParseCadence(c.String()); err != nil || again != c {
			t.Fatalf("%s comes back as %v, %v", text, again, err)
		}
	})
}
