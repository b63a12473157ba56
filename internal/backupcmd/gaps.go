package backupcmd

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

func gapsCommand() *cobra.Command {
	var f repoFlags
	var spool spoolFlags
	var o output
	cmd := &cobra.Command{
		Use:   "gaps",
		Short: "Show holes in the archived WAL",
		Long: `Show the WAL segments that are missing though later ones are archived: no backup before such a hole can be restored to a
point behind it. Exits with 5 where there are any; a new backup closes the matter.

What is missing only because it still waits in the spool of this machine (--spool) is told apart: it is on its way.`,
		Example: `  covetctl backup gaps
  covetctl backup gaps --spool /var/spool/covet -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.gaps(cmd, &o, spool.spool())) },
	}
	f.add(cmd)
	spool.add(cmd)
	f.addSystem(cmd)
	o.add(cmd)
	return cmd
}

func (f *repoFlags) gaps(cmd *cobra.Command, o *output, spool *backup.Spool) error {
	if err := o.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	c, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	heads, err := c.Backups(ctx)
	if err != nil && heads == nil || len(heads) == 0 {
		return errors.Join(err, fmt.Errorf("there is no readable backup of %s in %s", f.service, f.repo))
	}
	size := heads[0].SegmentSize
	var waiting []string
	if spool != nil { // looked at first: what leaves it meanwhile is in the repository then
		if waiting, err = spool.Files(c); err != nil {
			return err
		}
	}
	archived, err := c.Archived(ctx, size)
	if err != nil {
		return err
	}
	found, err := restore.Gaps(heads, archived)
	if err != nil {
		return err
	}
	gaps, err := inSpool(found, waiting, size)
	if err != nil {
		return err
	}
	if err := o.print(cmd.OutOrStdout(), gaps, func(w io.Writer) error { return printGaps(w, gaps, len(waiting), heads[0].ID) }); err != nil {
		return err
	}
	if n := missing(gaps); n > 0 {
		return fmt.Errorf("the archive has %d gaps: make a new backup", n)
	}
	return nil
}

// foundGap is a gap, or a part of one that waits in the spool.
type foundGap struct {
	restore.Gap
	Spooled bool `json:"in_spool"`
}

// inSpool divides gaps into what waits in the spool and what is missing.
func inSpool(gaps []restore.Gap, waiting []string, size int64) ([]foundGap, error) {
	out := []foundGap{}
	for _, g := range gaps {
		first, err := backup.ParseSegment(g.First, size)
		if err != nil {
			return nil, err
		}
		for i := range g.Segments {
			name := backup.Segment{Timeline: first.Timeline, No: first.No + uint64(i)}.Name(size)
			is := slices.Contains(waiting, name)
			if i == 0 || out[len(out)-1].Spooled != is {
				out = append(out, foundGap{restore.Gap{Timeline: g.Timeline, First: name}, is})
			}
			last := &out[len(out)-1]
			last.Last = name
			last.Segments++
		}
		out[len(out)-1].Last = g.Last // the same, but where the gap goes over to another timeline
	}
	return out, nil
}

// missing is how many gaps aren't in the spool.
func missing(gaps []foundGap) (n int) {
	for _, g := range gaps {
		if !g.Spooled {
			n++
		}
	}
	return n
}

func printGaps(w io.Writer, gaps []foundGap, waiting int, first string) error {
	if waiting > 0 {
		if _, err := fmt.Fprintf(w, "%d files wait in the spool of this machine for the repository: see covetctl wal status\n", waiting); err != nil {
			return err
		}
	}
	if len(gaps) == 0 {
		_, err := fmt.Fprintln(w, "no gaps since backup", first)
		return err
	}
	var lines [][]string
	for _, g := range gaps {
		where := "MISSING"
		if g.Spooled {
			where = "in the spool, on its way"
		}
		lines = append(lines, []string{fmt.Sprint(g.Timeline), g.First, g.Last, fmt.Sprint(g.Segments), where})
	}
	return rows(w, []string{"TIMELINE", "FIRST", "LAST", "SEGMENTS", ""}, lines)
}
