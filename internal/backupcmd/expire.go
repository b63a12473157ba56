package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
)

// expireFlags are those of backup expire.
type expireFlags struct {
	repoFlags
	output
	host    *Host // nil: this is done by schedule, which keeps what came of it itself
	policy  backup.Policy
	plan    bool
	yes     bool
	history bool
}

// configured fills in what the configuration keeps: its window always, where none is given, and its other rules where the
// command line has none of its own. So a careless --keep 1 doesn't break what the window promises.
func (f *expireFlags) configured(given func(flag string) bool) error {
	c, err := LoadConfig(os.Getenv)
	if err != nil {
		return err
	}
	if !given("window") {
		f.policy.Window = c.Policy.Window
	}
	for _, flag := range []string{"keep", "keep-age", "keep-daily", "keep-weekly", "keep-monthly"} {
		if given(flag) {
			return nil
		}
	}
	window := f.policy.Window
	f.policy = c.Policy
	f.policy.Window = window
	return nil
}

func expireCommand(h *Host) *cobra.Command {
	f := expireFlags{host: h}
	cmd := &cobra.Command{
		Use:   "expire",
		Short: "Remove backups, and WAL, that are no longer wanted",
		Long: `Remove the backups that no rule keeps, then the blocks and the WAL that no backup needs any longer.

A backup stays when any rule wants it. --window is a promise: every moment from that long ago until now can be restored
to; without the flag BACKUP_WINDOW holds, where it is set. Without any --keep flags the configured rules hold (BACKUP_KEEP_DAILY and the
like). The newest sound backup is never removed; one that was found damaged takes no sound one's place. Logical backups are counted apart, those of different databases or tables apart
from each other, by the same rules; --window is an age for them. What the store protects against deletion (object lock) stays, and is named.

At a terminal the plan is shown first, and the service's name is to be typed; a script is not asked.
Who removed what is kept in the repository (--history), and in the audit log of the service, where it can be reached.`,
		Example: `  covetctl backup expire --plan
  covetctl backup expire --window 7d --keep-weekly 4 --keep-monthly 12 --plan
  covetctl backup expire --keep 3
  covetctl backup expire --history`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.run(cmd)) },
	}
	f.repoFlags.add(cmd)
	f.addSystem(cmd)
	f.output.add(cmd)
	fs := cmd.Flags()
	fs.IntVar(&f.policy.Count, "keep", 0, "keep the newest N")
	fs.Var((*days)(&f.policy.Age), "keep-age", "keep those younger, such as 30d or 36h")
	fs.IntVar(&f.policy.Daily, "keep-daily", 0, "keep the newest of each of the last N days with a backup")
	fs.IntVar(&f.policy.Weekly, "keep-weekly", 0, "the same for weeks")
	fs.IntVar(&f.policy.Monthly, "keep-monthly", 0, "the same for months")
	fs.Var((*days)(&f.policy.Window), "window", "keep what restoring to any moment since then needs, such as 7d")
	fs.BoolVar(&f.plan, "plan", false, "show what would be removed, and remove nothing")
	fs.BoolVar(&f.yes, "yes", false, "don't ask at a terminal; a script isn't asked")
	fs.BoolVar(&f.history, "history", false, "show who removed what, instead")
	return cmd
}

func (f *expireFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := f.configured(cmd.Flags().Changed); err != nil {
		return err
	}
	if f.policy.Empty() && !f.history {
		return usage(errors.New("say what to keep: --window 7d, --keep 3, --keep-daily 7 and the like"))
	}
	ctx := cmd.Context()
	c, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	if f.history {
		return f.printHistory(cmd, c)
	}
	if err := f.confirm(cmd, c, time.Now()); err != nil {
		return err
	}
	began := time.Now()
	e, err := f.expire(ctx, c, began)
	if !f.plan && f.host != nil {
		err = errors.Join(err, f.note(cmd, c, began, e, err))
	}
	if err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), e, func(w io.Writer) error { return f.table(w, e) })
}

// expire decides on the backups of both kinds. With an error it returns what was decided by then, nil where that was nothing.
func (f *expireFlags) expire(ctx context.Context, c backup.Cluster, now time.Time) (*backup.Expiry, error) {
	e, err := c.Expire(ctx, f.policy, now, f.plan)
	if err != nil {
		return e, err
	}
	dumps, err := c.ExpireLogical(ctx, f.policy, now, f.plan)
	if dumps != nil {
		e.Add(dumps)
	}
	return e, err
}

func (f *expireFlags) table(w io.Writer, e *backup.Expiry) error {
	var lines [][]string
	for _, d := range e.Decisions {
		what := "keep"
		if !d.Keep {
			what = "remove"
		}
		kind := "physical"
		if d.Head.Logical != nil {
			kind = "logical"
		}
		lines = append(lines, []string{d.Head.ID, kind, when(d.Head.Stopped), what, strings.Join(d.Reason, ", ")})
	}
	if err := rows(w, []string{"BACKUP", "KIND", "ENDED", "", "BECAUSE"}, lines); err != nil {
		return err
	}
	verb := "removed"
	if f.plan {
		verb = "would remove"
	}
	_, err := fmt.Fprintf(w, "%s %d packs (%s) and %d WAL files (%s)\n", verb, len(e.Packs), size(e.PackBytes), e.WAL, size(e.WALBytes))
	if err == nil && len(e.Locked) > 0 {
		_, err = fmt.Fprintf(w, "%d objects stay because their store protects them%s, such as %s\n", len(e.Locked), untilText(e.LockedUntil), e.Locked[0])
	}
	if err == nil && len(e.Waiting) > 0 {
		_, err = fmt.Fprintln(w, "no packs were removed, because they may be needed by what is at work:", strings.Join(e.Waiting, ", "))
	}
	return err
}

func untilText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", until " + when(t) + " at the latest"
}

// days is a duration flag that knows days.
type days time.Duration

// Set implements pflag.Value.
func (d *days) Set(s string) error {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		*d = days(time.Duration(v) * 24 * time.Hour)
		return err
	}
	v, err := time.ParseDuration(s)
	if err == nil && v < 0 {
		err = errors.New("it must not be negative")
	}
	*d = days(v)
	return err
}

// String implements pflag.Value.
func (d *days) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Type implements pflag.Value.
func (d *days) Type() string { return "duration" }
