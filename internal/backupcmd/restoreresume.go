package backupcmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/restore"
)

func restoreResumeCommand(h Host) *cobra.Command {
	var o output
	var w whichRestore
	var takeOver bool
	cmd := &cobra.Command{
		Use:   "resume [RESTORE]",
		Short: "Go on with a restore that was interrupted",
		Long: `Go on with a restore that was interrupted or that failed, from the step at which it stands; without a name, the newest that
isn't finished. What is done already isn't done again. Anybody who gets at the directory may go on with what another began: the
record is beside the directory, and on Kubernetes in the cluster's journal. What the repository's credentials are is not in it.`,
		Example: `  covetctl restore resume
  covetctl restore resume --to /var/lib/postgresql/15/main`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return failed(resume(cmd, &o, w.records(h), args, takeOver))
		},
		ValidArgsFunction: completeRestores(h, &w),
	}
	o.add(cmd)
	w.add(cmd)
	cmd.Flags().BoolVar(&takeOver, "take-over", false, "go on here with what was begun on another machine, which must not be at it any more")
	return cmd
}

func resume(cmd *cobra.Command, out *output, r records, args []string, takeOver bool) error {
	o, err := r.unfinished(cmd.Context(), args)
	if err != nil {
		return err
	}
	if o.Elsewhere() && !takeOver {
		return &exitError{fmt.Errorf("restore %s was begun on %s, where its directory %s is: go on there, or say --take-over where the same directory is mounted here and nobody is at it there",
			o.ID, o.Host, o.Dir), exitLocked}
	}
	if err := r.takeUp(o); err != nil {
		return err
	}
	if o, err = watch(cmd.Context(), cmd.ErrOrStderr(), out, r.ops, o.ID); err != nil {
		return err
	}
	if err := out.print(cmd.OutOrStdout(), o, func(w io.Writer) error { return printOperation(w, o) }); err != nil {
		return err
	}
	return standstill(o)
}

// takeUp has a process go on with a restore, unless one is at it.
func (r records) takeUp(o *restore.Operation) error {
	if o.Running() {
		return nil
	}
	o.Error, o.Host, o.PID = "", restore.ThisHost(), 0
	if err := r.ops.Save(o); err != nil {
		return err
	}
	return r.host.startWorker(o, r.ops)
}

func restoreAbandonCommand(h Host) *cobra.Command {
	var o output
	var w whichRestore
	var yes bool
	cmd := &cobra.Command{
		Use:   "abandon [RESTORE]",
		Short: "Give up a restore that stands still",
		Long: `Give up a restore that stands still: its record is closed. Nothing else changes: a service that it stopped stays stopped, and
the database as it is. covetctl service start --restore RESTORE starts the service all the same.`,
		Example: `  covetctl restore abandon --yes`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return failed(abandon(cmd, &o, w.records(h), args, yes))
		},
		ValidArgsFunction: completeRestores(h, &w),
	}
	o.add(cmd)
	w.add(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func abandon(cmd *cobra.Command, out *output, r records, args []string, yes bool) error {
	o, err := r.unfinished(cmd.Context(), args)
	if err != nil {
		return err
	}
	if !yes && !o.Running() {
		return usage(fmt.Errorf("restore %s %s. %s Say --yes to give it up", o.ID, o.Describe(), left(o)))
	}
	was := left(o)
	if err := r.giveUp(cmd.Context(), o); err != nil {
		return err
	}
	return out.print(cmd.OutOrStdout(), o, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "restore %s is given up. %s\n", o.ID, was)
		return err
	})
}

// giveUp closes the record of a restore on which nobody works, here and where others look for it.
func (r records) giveUp(ctx context.Context, o *restore.Operation) error {
	if o.Running() {
		return &exitError{fmt.Errorf("restore %s is at work (process %d): stop it first (kill %d)", o.ID, o.PID, o.PID), exitLocked}
	}
	dropped(o)
	if err := r.ops.Save(o); err != nil {
		return err
	}
	if !o.Noted {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, journalPatience)
	defer cancel()
	if err := r.host.note(ctx, o); err != nil && o.Platform == platformCluster {
		return fmt.Errorf("the record on this machine is closed, and the cluster's is not: %w", err)
	}
	return nil
}

// dropped closes a record that nobody goes on with.
func dropped(o *restore.Operation) *restore.Operation {
	o.Ended, o.Dropped, o.PID = time.Now().UTC(), true, 0
	return o
}

func operator() string {
	if u := os.Getenv("SUDO_USER"); u != "" {
		return u
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
