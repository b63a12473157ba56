package backupcmd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/recovery"
)

// scheduleRunFlags are those of backup schedule run.
type scheduleRunFlags struct {
	repoFlags
	output
	now     bool
	cadence string
}

func scheduleRunCommand() *cobra.Command {
	var f scheduleRunFlags
	var kinds []string
	for _, k := range recovery.Kinds() {
		kinds = append(kinds, string(k))
	}
	cmd := &cobra.Command{
		Use:   "run [backup|expire|verify|drill…]",
		Short: "Do the jobs that are due",
		Long: `Do the jobs that are due, or those named, as the configuration has them; one that was missed while nothing ran is due.
A lease in the repository lets one of several runners do each job, and the result is kept there. This is what cron, systemd,
Kubernetes and covetd call. Exits with 5 where a job failed, with 0 where there was nothing to do.`,
		Example: `  covetctl backup schedule run
  covetctl backup schedule run verify --now`,
		Args:      cobra.OnlyValidArgs,
		ValidArgs: kinds,
		RunE:      func(cmd *cobra.Command, args []string) error { return failed(f.run(cmd, args)) },
	}
	f.repoFlags.add(cmd)
	f.addDatabase(cmd)
	f.output.add(cmd)
	cmd.Flags().String("config", "", "covetd's YAML file (COVET_CONFIG)")
	cmd.Flags().StringVar(&f.cadence, "cadence", "", "when the job named is due, instead of what the configuration says")
	cmd.Flags().BoolVar(&f.now, "now", false, "whether they are due or not")
	return cmd
}

func (f *scheduleRunFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := LoadConfig(os.Getenv)
	if err != nil {
		return err
	}
	if f.cadence != "" {
		if len(args) != 1 {
			return usage(errors.New("--cadence is one job's: name it"))
		}
		if c.Schedule[recovery.Kind(args[0])], err = recovery.ParseCadence(f.cadence); err != nil {
			return usage(fmt.Errorf("--cadence: %w", err))
		}
	}
	ctx := cmd.Context()
	repo, err := f.open(ctx)
	if err != nil {
		return err
	}
	outcomes := []recovery.Outcome{}
	var bad []error
	for _, k := range recovery.Kinds() {
		if len(args) > 0 && !slices.Contains(args, string(k)) {
			continue
		}
		o, err := f.job(ctx, cmd, repo, c, k)
		if err != nil {
			return err
		}
		outcomes = append(outcomes, o)
		if o.Attempt != nil && !o.Attempt.OK {
			bad = append(bad, fmt.Errorf("the %s failed: %s", k, o.Attempt.Says))
		}
	}
	if err := f.print(cmd.OutOrStdout(), outcomes, func(w io.Writer) error { return printOutcomes(w, outcomes) }); err != nil {
		return err
	}
	return errors.Join(bad...)
}

// job does one, where it is due and nobody else is at it.
func (f *scheduleRunFlags) job(ctx context.Context, cmd *cobra.Command, repo backup.Repository, c Config, k recovery.Kind) (recovery.Outcome, error) {
	o := recovery.Outcome{Kind: k}
	now := time.Now().UTC()
	held, lease, err := repo.Acquire(ctx, f.service, string(k), now)
	if errors.Is(err, backup.ErrLeased) {
		o.Says = err.Error()
		return o, nil
	}
	if err != nil {
		return o, err
	}
	o, err = f.leased(held, cmd, repo, c, k, now)
	return o, errors.Join(err, lease.Release(ctx))
}

func (f *scheduleRunFlags) leased(ctx context.Context, cmd *cobra.Command, repo backup.Repository, c Config, k recovery.Kind, now time.Time) (recovery.Outcome, error) {
	o := recovery.Outcome{Kind: k}
	attempts, err := repo.Attempts(ctx, f.service, string(k), 10)
	if err != nil && !errors.Is(err, backup.ErrDamaged) { // the damaged ones are passed over
		return o, err
	}
	slot, due := c.Schedule.Due(k, attempts, now)
	if f.now {
		slot, due = now, true
	}
	if !due {
		o.Says = "not due"
		if next := c.Schedule[k].Next(now); !next.IsZero() {
			o.Says = "not due before " + when(next)
		}
		return o, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return o, fmt.Errorf("find this machine's name: %w", err)
	}
	a := &backup.Attempt{Kind: string(k), Slot: slot, Began: now, Host: host}
	says, err := f.do(ctx, cmd.ErrOrStderr(), k)
	a.Ended, a.OK, a.Says = time.Now().UTC(), err == nil, says
	if err != nil {
		a.Says = err.Error()
	}
	o.Ran, o.Attempt, o.Says = true, a, a.Says
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // the result of one that was interrupted, too
	defer cancel()
	if err := repo.SaveAttempt(keep, f.service, a); err != nil {
		return o, fmt.Errorf("the %s %s, but that could not be kept: %w", k, a.Says, err)
	}
	return o, repo.PruneAttempts(keep, f.service, string(k), now)
}

// do runs the job's command, with this one's flags, and says in a line what came of it.
func (f *scheduleRunFlags) do(ctx context.Context, progress io.Writer, k recovery.Kind) (string, error) {
	switch k {
	case recovery.Backup:
		args := f.args()
		if f.databaseURL != "" {
			args = append(args, "--database-url", f.databaseURL)
		}
		h, err := call[backup.Head](ctx, progress, runCommand(), args)
		return fmt.Sprintf("%s, %s, %s stored", h.ID, size(h.Bytes), size(h.StoredBytes)), err
	case recovery.Expire:
		e, err := call[backup.Expiry](ctx, progress, expireCommand(nil), f.args())
		return expirySays(e), err
	case recovery.Verify:
		vs, err := call[[]backup.Verification](ctx, progress, verifyCommand(), append(f.args(), "--stalest", "1"))
		var read int64
		for _, v := range vs {
			read += v.Bytes
		}
		return fmt.Sprintf("%d backups and the log are good, %s read", len(slices.DeleteFunc(vs, func(v backup.Verification) bool { return v.ID == backup.LogID })), size(read)), err
	case recovery.Drill:
		ds, err := call[[]backup.DrillResult](ctx, progress, drillCommand(), f.args())
		if len(ds) == 0 {
			return "", cmp.Or(err, errors.New("the drill gave no result"))
		}
		return fmt.Sprintf("recovered %s in %s, %d checks passed", ds[0].Backup, ds[0].Recovery, len(ds[0].Checks)), err
	}
	return "", fmt.Errorf("there is no job %q", k)
}

func expirySays(e backup.Expiry) string {
	removed := 0
	for _, d := range e.Decisions {
		if !d.Keep {
			removed++
		}
	}
	says := fmt.Sprintf("%d backups removed, %d kept, %s freed", removed, len(e.Decisions)-removed, size(e.PackBytes+e.WALBytes))
	if len(e.Locked) > 0 {
		says += fmt.Sprintf(", %d objects stay because they are locked", len(e.Locked))
	}
	return says
}

// call runs another command of this program in the same process, and reads its answer.
func call[T any](ctx context.Context, progress io.Writer, cmd *cobra.Command, args []string) (T, error) {
	var out bytes.Buffer
	var v T
	root := &cobra.Command{Use: "covetctl", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(cmd)
	root.SetArgs(append(append([]string{cmd.Name()}, args...), "-o", "json"))
	root.SetOut(&out)
	root.SetErr(progress)
	err := root.ExecuteContext(ctx)
	if out.Len() > 0 {
		if e := json.Unmarshal(out.Bytes(), &v); e != nil {
			err = errors.Join(err, fmt.Errorf("read the answer of %s: %w", cmd.Name(), e))
		}
	}
	return v, err
}

func printOutcomes(w io.Writer, outcomes []recovery.Outcome) error {
	var lines [][]string
	for _, o := range outcomes {
		state := "-"
		if o.Attempt != nil {
			state = map[bool]string{true: "done", false: "FAILED"}[o.Attempt.OK]
		}
		lines = append(lines, []string{string(o.Kind), state, strings.ReplaceAll(o.Says, "\n", "; ")})
	}
	return rows(w, []string{"JOB", "STATE", ""}, lines)
}
