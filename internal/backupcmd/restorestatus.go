package backupcmd

import (
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
	return &exitError{fmt.Errorf("the restore %s stands at %q: %s\n%s\ncovetctl restore resume %s goes on, covetctl restore abandon %s gives it up",
		o.ID, at.Do, o.Error, left(o), o.ID, o.ID), exitHalfDone}
}

// left says what state things are in.
func left(o *restore.Operation) string {
	switch at := o.Current(); at.Name {
	case stepStop, stepDown:
		return "The database is as it was."
	case stepCopy, stepConfigure:
		return "The database in " + o.Dir + " is half restored and cannot be started; the service is stopped."
	case stepRecover:
		return "The files are there and the log is being replayed; the service is stopped."
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
		ran = ran || o.Running()
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
	var dir string
	var follow, all bool
	cmd := &cobra.Command{
		Use:   "status [RESTORE]",
		Short: "Show a database rollback: what is done, what is left",
		Long:  `Show the newest database rollback, or the one named: which steps are done, and what is left. --watch follows it to its end.`,
		Example: `  covetctl restore status
  covetctl restore status --watch
  covetctl restore status --all -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return failed(showRestore(cmd, &o, h.operations(dir), args, follow, all))
		},
		ValidArgsFunction: completeRestores(h, &dir),
	}
	o.add(cmd)
	cmd.Flags().BoolVarP(&follow, "watch", "w", false, "follow it until it ends")
	cmd.Flags().BoolVar(&all, "all", false, "list all of them")
	cmd.Flags().StringVar(&dir, "state-dir", "", "where the records are kept; default covetd's data directory")
	return cmd
}

func completeRestores(h Host, dir *string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, err := h.operations(*dir).List()
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

func showRestore(cmd *cobra.Command, out *output, ops restore.Operations, args []string, follow, all bool) error {
	if all {
		list, err := ops.List()
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
	o, err := ops.Load(id)
	if errors.Is(err, fs.ErrNotExist) && id == "" {
		return &exitError{errors.New("no database rollback was ever begun from here"), 1}
	}
	if err == nil && follow {
		o, err = watch(cmd.Context(), cmd.ErrOrStderr(), out, ops, o.ID)
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

func printOperation(w io.Writer, o *restore.Operation) error {
	if err := fields(w, "restore", o.ID, "state", o.Describe(), "place", o.Dir, "target", o.Target, "backup", o.Backup, "loses", o.Loss.String(), "release", o.Release, "by", o.By, "began", when(o.Began), "ended", when(o.Ended)); err != nil {
		return err
	}
	var lines [][]string
	for _, s := range o.Steps {
		took := ""
		if !s.Ended.IsZero() {
			took = s.Ended.Sub(s.Began).Round(time.Millisecond).String()
		}
		says := s.Says
		if s.State == restore.Doing && o.Progress != nil {
			says = progressLine(*o.Progress)
		}
		lines = append(lines, []string{s.Do, string(s.State), took, says})
	}
	return rows(w, []string{"STEP", "STATE", "TOOK", ""}, lines)
}

func restoreResumeCommand(h Host) *cobra.Command {
	var o output
	var dir string
	cmd := &cobra.Command{
		Use:   "resume [RESTORE]",
		Short: "Go on with a database rollback that was interrupted",
		Long: `Go on with a database rollback that was interrupted or that failed, from the step at which it stands; without a name, the
newest that isn't finished. What is done already isn't done again.`,
		Example: `  covetctl restore resume`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return failed(resume(cmd, &o, h.operations(dir), args))
		},
		ValidArgsFunction: completeRestores(h, &dir),
	}
	o.add(cmd)
	cmd.Flags().StringVar(&dir, "state-dir", "", "where the records are kept; default covetd's data directory")
	return cmd
}

// unfinished finds the operation that is meant.
func unfinished(ops restore.Operations, args []string) (*restore.Operation, error) {
	var o *restore.Operation
	var err error
	if len(args) > 0 {
		o, err = ops.Load(args[0])
	} else {
		o, err = ops.Unfinished()
	}
	switch {
	case err != nil:
		return nil, err
	case o == nil:
		return nil, &exitError{errors.New("every database rollback that was begun is finished: covetctl restore status --all lists them"), 1}
	case o.Finished():
		return nil, &exitError{fmt.Errorf("restore %s is finished: %s", o.ID, o.Describe()), 1}
	}
	return o, nil
}

// takeUp has a process go on with an operation, unless one is at it.
func takeUp(ops restore.Operations, o *restore.Operation) error {
	if o.Running() {
		return nil
	}
	o.Error = ""
	if err := ops.Save(o); err != nil {
		return err
	}
	return startWorker(o, ops)
}

func resume(cmd *cobra.Command, out *output, ops restore.Operations, args []string) error {
	o, err := unfinished(ops, args)
	if err != nil {
		return err
	}
	if err := takeUp(ops, o); err != nil {
		return err
	}
	if o, err = watch(cmd.Context(), cmd.ErrOrStderr(), out, ops, o.ID); err != nil {
		return err
	}
	if err := out.print(cmd.OutOrStdout(), o, func(w io.Writer) error { return printOperation(w, o) }); err != nil {
		return err
	}
	return standstill(o)
}

func restoreAbandonCommand(h Host) *cobra.Command {
	var o output
	var dir string
	var yes bool
	cmd := &cobra.Command{
		Use:   "abandon [RESTORE]",
		Short: "Give up a database rollback that stands still",
		Long: `Give up a database rollback that stands still: its record is closed. Nothing else changes: the service stays stopped, and the
database as it is. covetctl service start --restore RESTORE starts the service all the same.`,
		Example: `  covetctl restore abandon --yes`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return failed(abandon(cmd, &o, h.operations(dir), args, yes))
		},
		ValidArgsFunction: completeRestores(h, &dir),
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().StringVar(&dir, "state-dir", "", "where the records are kept; default covetd's data directory")
	return cmd
}

// giveUp closes the record of an operation on which nobody works.
func giveUp(ops restore.Operations, o *restore.Operation) error {
	if o.Running() {
		return &exitError{fmt.Errorf("restore %s is at work (process %d): stop it first (kill %d)", o.ID, o.PID, o.PID), exitLocked}
	}
	o.Ended, o.Dropped, o.PID = time.Now().UTC(), true, 0
	return ops.Save(o)
}

func abandon(cmd *cobra.Command, out *output, ops restore.Operations, args []string, yes bool) error {
	o, err := unfinished(ops, args)
	if err != nil {
		return err
	}
	if !yes && !o.Running() {
		return usage(fmt.Errorf("restore %s %s. %s Say --yes to give it up", o.ID, o.Describe(), left(o)))
	}
	if err := giveUp(ops, o); err != nil {
		return err
	}
	return out.print(cmd.OutOrStdout(), o, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "restore %s is given up. %s\n", o.ID, left(o))
		return err
	})
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
