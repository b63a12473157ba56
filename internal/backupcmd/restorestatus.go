package backupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/restore"
)

// follow shows how a restore goes until it ends or stands still. Leaving it stops nothing.
func (f *restoreFlags) follow(cmd *cobra.Command, ops restore.Operations, o *restore.Operation, out *serviceResult) error {
	o, err := watch(cmd.Context(), cmd.ErrOrStderr(), &f.output, ops, o.ID)
	if err != nil {
		return err
	}
	out.Operation = o
	if err := f.print(cmd.OutOrStdout(), out, out.table); err != nil {
		return err
	}
	return standstill(o)
}

// standstill is the error of an operation that didn't finish.
func standstill(o *restore.Operation) error {
	if o.Finished() {
		return nil
	}
	at := o.Current()
	return &exitError{fmt.Errorf("the restore %s stands at: %s: %s\n%s\ncovetctl restore resume %s goes on, covetctl restore abandon %s gives it up",
		o.ID, at.Do, cmp.Or(o.Error, "the process that worked on it is gone"), left(o), o.ID, o.ID), exitHalfDone}
}

// left says what state things are in.
func left(o *restore.Operation) string {
	at := o.Current()
	if at == nil {
		return "Everything is done."
	}
	var service string
	if o.Service != "" {
		service = "; the service is stopped"
	}
	switch at.Name {
	case stepStop:
		return "The database is as it was; the service may be stopping."
	case stepDown, stepKeep:
		return "The database in " + o.Dir + " is as it was, and stopped" + service + "."
	case stepCopy:
		return "The database in " + o.Dir + " is half restored and cannot be started" + service + "."
	case stepConfigure:
		return "The files in " + o.Dir + " are restored; PostgreSQL must not be started before they are set up" + service + "."
	case stepRecover:
		return "The files are there and the log is being replayed" + service + "."
	case stepStart:
		return "The database and the release are as wanted; the service is starting, or has yet to."
	default:
		return "The database is restored; the service is stopped until this is finished."
	}
}

// workerGrace is how long a worker may take to show itself.
const workerGrace = 15 * time.Second

// watch follows a record until it ends, or nobody works on it.
func watch(ctx context.Context, progress io.Writer, out *output, ops restore.Operations, id string) (*restore.Operation, error) {
	tell := out.progress(progress)
	seen := map[string]restore.StepState{}
	began, ran := time.Now(), false
	for {
		o, err := ops.Load(id)
		if err != nil {
			return nil, err
		}
		for _, s := range o.Steps {
			if s.State != restore.Pending && s.State != seen[s.Name] && out.format == "table" {
				_, _ = fmt.Fprintf(progress, "%-8s %s%s\n", s.State, s.Do, after(s.Says)) // what can't be told is in the record
			}
			seen[s.Name] = s.State
		}
		if o.Progress != nil {
			tell(*o.Progress)
		}
		ran = ran || o.PID > 0 // a process has begun with it, if only to be killed at once
		if o.Finished() || o.Error != "" && !o.Running() || !o.Running() && (ran || time.Since(began) > workerGrace) {
			again, err := ops.Load(id) // it may have ended between the two looks
			return again, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the restore %s goes on without you: covetctl restore status --watch follows it: %w", id, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func after(says string) string {
	if says == "" {
		return ""
	}
	return ": " + says
}

func restoreStatusCommand(h Host) *cobra.Command {
	var o output
	var w whichRestore
	var follow, all bool
	cmd := &cobra.Command{
		Use:   "status [RESTORE]",
		Short: "Show a restore: what is done, what is left",
		Long: `Show the newest restore, or the one named: which steps are done, and what is left. --watch follows it to its end.

Restores are found that were begun on this machine, those that the service's journal knows of, wherever they run, and with --to
that of a directory.`,
		Example: `  covetctl restore status
  covetctl restore status --watch
  covetctl restore status --to /var/lib/postgresql/15/main
  covetctl restore status --all -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return failed(showRestore(cmd, &o, w.records(h), args, follow, all))
		},
		ValidArgsFunction: completeRestores(h, &w),
	}
	o.add(cmd)
	w.add(cmd)
	cmd.Flags().BoolVarP(&follow, "watch", "w", false, "follow it until it ends")
	cmd.Flags().BoolVar(&all, "all", false, "list all of them")
	return cmd
}

// whichRestore are the flags of the commands about one restore.
type whichRestore struct{ stateDir, to string }

func (w *whichRestore) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.stateDir, "state-dir", "", "where the records are kept; default covetd's data directory")
	cmd.Flags().StringVar(&w.to, "to", "", "the restore of this data directory")
}

func (w *whichRestore) records(h Host) records {
	return records{host: h, ops: h.operations(w.stateDir), dir: absolutePath(w.to)}
}

func completeRestores(h Host, w *whichRestore) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, err := w.records(h).ops.List()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, o := range all {
			out = append(out, o.ID+"\t"+o.Describe())
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func showRestore(cmd *cobra.Command, out *output, r records, args []string, follow, all bool) error {
	if all {
		list, err := r.all(cmd.Context())
		if err != nil {
			return err
		}
		if list == nil {
			list = []*restore.Operation{}
		}
		return out.print(cmd.OutOrStdout(), list, func(w io.Writer) error {
			var lines [][]string
			for _, o := range list {
				lines = append(lines, []string{o.ID, o.Dir, o.Target, o.Loss.String(), o.By, o.Describe()})
			}
			return rows(w, []string{"RESTORE", "PLACE", "TARGET", "LOSES", "BY", "STATE"}, lines)
		})
	}
	id := ""
	if len(args) > 0 {
		id = args[0]
	}
	o, err := r.find(cmd.Context(), id)
	if errors.Is(err, fs.ErrNotExist) {
		return &exitError{err, 1}
	}
	if err == nil && follow && !o.Elsewhere() {
		o, err = watch(cmd.Context(), cmd.ErrOrStderr(), out, r.ops, o.ID)
	}
	if err != nil {
		return err
	}
	if err := out.print(cmd.OutOrStdout(), o, func(w io.Writer) error { return printOperation(w, o) }); err != nil {
		return err
	}
	if follow {
		return standstill(o)
	}
	return nil
}

// nextOf is what a person has to do about a restore; empty: nothing.
func nextOf(o *restore.Operation, now time.Time) string {
	by := o.Ended.Add(replayWithin)
	switch {
	case !o.Finished() && !o.Running():
		return fmt.Sprintf("%s covetctl restore resume %s goes on, covetctl restore abandon %s gives it up", left(o), o.ID, o.ID)
	case o.Finished() && !o.Dropped && o.Step(stepConfigure).State == restore.Done && o.Step(stepRecover).State == "" && now.Before(by):
		return fmt.Sprintf("start PostgreSQL in %s by %s: until then the log that it replays does not expire (where whoever restored may write to the repository)", o.Dir, when(by))
	}
	return ""
}

func printOperation(w io.Writer, o *restore.Operation) error {
	place := o.Dir
	if o.Elsewhere() {
		place = o.Host + ":" + o.Dir
	}
	if err := fields(w, "restore", o.ID, "state", o.Describe(), "next", nextOf(o, time.Now()), "service", o.Service, "place", place, "target", o.Target, "backup", o.Backup, "loses", o.Loss.String(), "release", o.Release, "by", o.By, "began", when(o.Began), "ended", when(o.Ended)); err != nil {
		return err
	}
	var lines [][]string
	for _, s := range o.Steps {
		took := ""
		if !s.Ended.IsZero() {
			took = s.Ended.Sub(s.Began).Round(time.Millisecond).String()
		}
		says, state := s.Says, string(s.State)
		if s.State == restore.Doing && o.Progress != nil {
			says = progressLine(*o.Progress)
		}
		if s.State == restore.Doing && !o.Running() {
			state = "interrupted"
		}
		lines = append(lines, []string{s.Do, state, took, says})
	}
	return rows(w, []string{"STEP", "STATE", "TOOK", ""}, lines)
}

// table prints the plan of a database rollback, or what became of it.
func (r *serviceResult) table(w io.Writer) error {
	if r.Operation != nil {
		return printOperation(w, r.Operation)
	}
	if err := r.result.table(w); err != nil {
		return err
	}
	if err := fields(w, "service", r.Service, "duration", fmt.Sprintf("about %s of the %s that are promised (%s)", r.Duration, r.Limit, r.Basis)); err != nil {
		return err
	}
	for _, n := range r.Notes {
		if err := fields(w, "note", n); err != nil {
			return err
		}
	}
	var lines [][]string
	for i, s := range r.Steps {
		took := ""
		if s.Duration > 0 {
			took = s.Duration.Std().Round(time.Second).String()
		}
		lines = append(lines, []string{fmt.Sprint(i + 1), s.Do, s.Touches, took, s.Undo})
	}
	return rows(w, []string{"#", "STEP", "TOUCHES", "ABOUT", "UNDO"}, lines)
}
