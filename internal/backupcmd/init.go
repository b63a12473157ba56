package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgwire"
)

// finding is the result of one check.
type finding struct {
	What  string `json:"what"`
	State string `json:"state"` // ok, advice or wrong
	Says  string `json:"says"`
	// Set is the setting that would put it right; Restart says that it takes effect only then.
	Set     map[string]string `json:"set,omitempty"`
	Restart bool              `json:"restart,omitempty"`
}

// initFlags are those of backup init.
type initFlags struct {
	repoFlags
	output
	apply bool
}

func initCommand() *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Check that a server and a repository are ready for backups",
		Long: `Check that a server and a repository are ready for backups: the server's settings, and the repository by writing, reading,
listing, refusing to overwrite, and deleting a small object. Says what to set; with --apply it sets what it may.
Exits with 5 where something is wrong.`,
		Example: `  covetctl backup init
  covetctl backup init --repo s3://backups/prod --apply`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.run(cmd)) },
	}
	f.repoFlags.add(cmd)
	f.addDatabase(cmd)
	f.output.add(cmd)
	cmd.Flags().BoolVar(&f.apply, "apply", false, "change the server's settings (ALTER SYSTEM), which needs a superuser")
	return cmd
}

func (f *initFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	dsn, err := f.database()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	s, err := pgwire.ReadSettings(ctx, dsn)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	command := strings.Join(append([]string{shell(self), "wal", "push", "%p"}, quoted(f.args())...), " ")
	found := append(checkServer(s, command), f.checkRepository(ctx))
	if f.apply {
		if err := applyAll(ctx, dsn, found); err != nil {
			return err
		}
	}
	if err := f.print(cmd.OutOrStdout(), found, func(w io.Writer) error { return printFindings(w, found, f.apply) }); err != nil {
		return err
	}
	if slices.ContainsFunc(found, func(x finding) bool { return x.State == "wrong" && !(f.apply && x.Set != nil) }) {
		return errors.New("not ready for backups: see what is wrong above")
	}
	return nil
}

func quoted(words []string) []string {
	for i, w := range words {
		words[i] = shell(w)
	}
	return words
}

// checkServer judges a server's settings. command is the archive_command that would be right.
func checkServer(s pgwire.Settings, command string) []finding {
	ok := func(what, says string) finding { return finding{What: what, State: "ok", Says: says} }
	found := []finding{ok("server", fmt.Sprintf("PostgreSQL %d.%d, system %s", s.Version/10000, s.Version%10000, s.System))}
	if s.WALLevel == "minimal" {
		found = append(found, finding{"wal_level", "wrong", "minimal: the log doesn't have what a restore needs", map[string]string{"wal_level": "replica"}, true})
	} else {
		found = append(found, ok("wal_level", s.WALLevel))
	}
	if free := s.WALSenders - s.SendersUsed; free < 2 {
		found = append(found, finding{"max_wal_senders", "wrong", fmt.Sprintf("%d of %d free, a backup takes 2", free, s.WALSenders), map[string]string{"max_wal_senders": fmt.Sprint(s.WALSenders + 4)}, true})
	} else {
		found = append(found, ok("max_wal_senders", fmt.Sprintf("%d of %d free", free, s.WALSenders)))
	}
	if free := s.Slots - s.SlotsUsed; free < 1 {
		found = append(found, finding{"max_replication_slots", "advice", "none free: a backup can't hold the server's log while it runs", map[string]string{"max_replication_slots": fmt.Sprint(s.Slots + 4)}, true})
	} else {
		found = append(found, ok("max_replication_slots", fmt.Sprintf("%d of %d free", free, s.Slots)))
	}
	found = append(found, checkArchiving(s, command)...)
	if s.Checksums {
		return append(found, ok("data_checksums", "on"))
	}
	return append(found, finding{What: "data_checksums", State: "advice", Says: "off: damaged pages go unnoticed (pg_checksums --enable on a stopped server)"})
}

func checkArchiving(s pgwire.Settings, command string) []finding {
	var found []finding
	switch {
	case s.ArchiveMode == "off":
		found = append(found, finding{"archive_mode", "wrong", "off: nothing since the last backup can be restored", map[string]string{"archive_mode": "on", "archive_command": command}, true})
	case !strings.Contains(s.ArchiveCommand, "wal push"):
		found = append(found, finding{"archive_command", "wrong", fmt.Sprintf("%q doesn't archive here", s.ArchiveCommand), map[string]string{"archive_command": command}, false})
	case s.ArchiveFailed != "":
		found = append(found, finding{What: "archiving", State: "wrong", Says: "the last attempt failed, with " + s.ArchiveFailed + ": the server's log says why"})
	default:
		found = append(found, finding{What: "archiving", State: "ok", Says: s.ArchiveCommand})
	}
	if s.ArchiveTimeout == 0 {
		return append(found, finding{"archive_timeout", "advice", "none: where little is written, a segment may stay unarchived for hours", map[string]string{"archive_timeout": "60"}, false})
	}
	return append(found, finding{What: "archive_timeout", State: "ok", Says: fmt.Sprintf("%d s", s.ArchiveTimeout)})
}

// checkRepository tries the repository out.
func (f *initFlags) checkRepository(ctx context.Context) finding {
	repo, err := f.open(ctx)
	var skew time.Duration
	if err == nil {
		skew, err = repo.Probe(ctx, f.service)
	}
	switch {
	case err != nil:
		return finding{What: "repository", State: "wrong", Says: fmt.Sprintf("%s: %v", f.repo, err)}
	case skew.Abs() > time.Minute:
		return finding{What: "repository", State: "wrong", Says: fmt.Sprintf("%s: its clock and this machine's differ by %s", f.repo, skew.Round(time.Second))}
	}
	return finding{What: "repository", State: "ok", Says: f.repo}
}

func applyAll(ctx context.Context, dsn string, found []finding) error {
	set := map[string]string{}
	for _, x := range found {
		for k, v := range x.Set {
			set[k] = v
		}
	}
	if len(set) == 0 {
		return nil
	}
	return pgwire.Apply(ctx, dsn, set)
}

func printFindings(w io.Writer, found []finding, applied bool) error {
	var lines [][]string
	for _, x := range found {
		says := x.Says
		for k, v := range x.Set {
			verb := "set "
			if applied {
				verb = "was set: "
			}
			says += "; " + verb + k + " = '" + v + "'"
		}
		if x.Restart {
			says += " (takes effect when PostgreSQL is restarted)"
		}
		lines = append(lines, []string{x.What, x.State, says})
	}
	return rows(w, []string{"CHECK", "STATE", ""}, lines)
}
