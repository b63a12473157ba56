package backupcmd

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/backup"
)

// output is how a command prints its result.
type output struct{ format string }

func (o *output) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "table, json or yaml")
	completeWords(cmd, "output", "table", "json", "yaml")
}

func (o *output) check() error {
	if o.format != "table" && o.format != "json" && o.format != "yaml" {
		return usage(fmt.Errorf("--output %q: use table, json or yaml", o.format))
	}
	return nil
}

// print writes v as JSON or YAML, or calls table for a person.
func (o *output) print(w io.Writer, v any, table func(w io.Writer) error) error {
	switch o.format {
	case "json":
		return render.JSON(w, v)
	case "yaml":
		return render.YAML(w, v)
	}
	return table(w)
}

// rows aligns columns.
func rows(w io.Writer, header []string, lines [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range append([][]string{header}, lines...) {
		for i, cell := range line {
			sep := "\t"
			if i == len(line)-1 {
				sep = "\n"
			}
			if _, err := fmt.Fprint(tw, cell, sep); err != nil {
				return err
			}
		}
	}
	return tw.Flush()
}

// fields prints names and values below each other.
func fields(w io.Writer, pairs ...string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(tw, "%s\t%s\n", pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// size is a number of bytes for a person.
func size(n int64) string {
	const units = "KMGTP"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	i := -1
	for f >= 999.5 && i < len(units)-1 {
		f /= 1000
		i++
	}
	return fmt.Sprintf("%.3g %cB", f, units[i])
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// exactly is a time as precise as PostgreSQL's.
func exactly(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999999Z") }

// progress returns a function that tells how far something is: lines for a person, JSON lines for a program.
func (o *output) progress(w io.Writer) func(backup.Progress) {
	var last time.Duration
	var phase string
	var pace backup.Pace
	return func(p backup.Progress) {
		p = pace.Of(p)
		if since := p.Elapsed - last; p.Phase == phase && since >= 0 && since < o.pause(w, p.Elapsed) {
			return
		}
		last, phase = p.Elapsed, p.Phase
		// Progress that can't be told is no reason to stop the work.
		if o.format != "table" {
			_ = json.NewEncoder(w).Encode(p)
			return
		}
		_, _ = fmt.Fprintln(w, progressLine(p))
	}
}

// pause is how long a program hears nothing, a second, and how long a person: longer the longer it takes, in which every line would
// be lost among thousands, also in the mail of a cron job. Who looks on wants to see it move.
func (o *output) pause(w io.Writer, elapsed time.Duration) time.Duration {
	longest := 30 * time.Second
	if render.IsTerminal(w) {
		longest = 5 * time.Second
	}
	if o.format != "table" {
		return time.Second
	}
	return min(max(elapsed/30, time.Second), longest)
}

func progressLine(p backup.Progress) string {
	if p.Done == 0 && p.Total == 0 {
		return p.Phase // which moves nothing
	}
	line := fmt.Sprintf("%-10s %s", p.Phase, size(p.Done))
	if p.Total > 0 {
		line += fmt.Sprintf(" of %s, %.0f %%", size(p.Total), min(100, 100*float64(p.Done)/float64(p.Total)))
	}
	line += fmt.Sprintf(", %s/s", size(int64(p.Rate())))
	if eta := p.ETA(); eta > 0 {
		line += ", " + eta.Round(time.Second).String() + " left"
	}
	return line
}
