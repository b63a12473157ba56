package backupcmd

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// Every command that does something has a summary and an example that names it.
func TestEveryCommandHelps(t *testing.T) {
	t.Parallel()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.RunE == nil {
			t.Errorf("%s has no summary or does nothing", c.CommandPath())
		}
		if !c.HasSubCommands() && !c.Hidden && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	for _, c := range Commands(Host{}) {
		root := &cobra.Command{Use: "covetctl"}
		root.AddCommand(c)
		walk(c)
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 3, 1, 13, 57, 48, 0, time.UTC)
	for _, s := range []string{"2026-03-01 13:57:48Z", "2026-03-01T13:57:48Z", "2026-03-01 14:57:48+01", "2026-03-01 14:57:48+01:00", "2026-03-01 13:57:48.000Z"} {
		if got, err := parseTime(s); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v %v", s, got, err)
		}
	}
	if got, err := parseTime("2026-03-01 13:57:48"); err != nil || !got.Equal(time.Date(2026, 3, 1, 13, 57, 48, 0, time.Local)) {
		t.Errorf("without a zone: %v %v", got, err)
	}
	for _, s := range []string{"", "now", "2026-03-01", "13:57", "2026-03-01 13:57:48 CET"} {
		if _, err := parseTime(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestDays(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{"7d": 168 * time.Hour, "36h": 36 * time.Hour, "0d": 0} {
		var d days
		if err := d.Set(s); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v %v", s, time.Duration(d), err)
		}
	}
	for _, s := range []string{"", "d", "-3d", "-1h", "week"} {
		var d days
		if d.Set(s) == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 KB", 999_499: "999 KB", 999_600: "1 MB", 16_777_216: "16.8 MB", 3_320_000_000: "3.32 GB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]rate{"0": 0, "20000": 20000, "20M": 20480, "100MB": 102400, "1MiB": 1024} {
		var r rate
		if err := r.Set(text); err != nil || r != want {
			t.Errorf("%s: %d, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "fast", "20 M", "20M/s"} {
		if err := new(rate).Set(text); err == nil || !strings.Contains(err.Error(), "write 20M") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"/usr/bin/covetctl": "/usr/bin/covetctl", "a b": "'a b'", "it's": `'it'\''s'`, "100%": "100%%", "": "''"} {
		if got := shell(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
