package backupcmd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgwire"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
)

// Desk answers a console about backups and restores, and has them done, as the commands would with what the environment
// says. It implements console.Recovery.
type Desk struct {
	Host
	Port console.Port               // of the service that the console shows
	Seen func() []recovery.Position // what was known of the server's log before; nil: nothing
}

// askLimit is how long the service or the database may take to answer before it is done without.
const askLimit = 3 * time.Second

// Posture implements console.RecoveryView: covetd's own where it has one, or else what the repository says.
func (d Desk) Posture(ctx context.Context) (recovery.Posture, error) {
	asking, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var p recovery.Posture
	if err := d.Port.Ask(asking, console.GetRecovery, console.Query{}, &p); err == nil && p.Unknown == "" && !p.At.IsZero() {
		return p, nil
	}
	conf, err := LoadConfig(os.Getenv)
	if err != nil {
		return p, err
	}
	var seen []recovery.Position
	if d.Seen != nil {
		seen = d.Seen()
	}
	if p, err = judged(ctx, conf, seen); err != nil {
		return p, fmt.Errorf("read the repository %s: %w", conf.Repo, err)
	}
	return p, nil
}

// Newest implements console.RecoveryView.
func (d Desk) Newest() (*restore.Operation, error) {
	o, err := d.operations("").Load("")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return o, err
}

// deskPlan is a plan with what carrying it out takes.
type deskPlan struct {
	console.Plan
	dir   string
	begin func() (*restore.Operation, error)
}

// plan works a database rollback out.
func (d Desk) plan(ctx context.Context, in console.RestoreRequest) (*deskPlan, error) {
	f := &restoreFlags{host: d.Host}
	f.define(&cobra.Command{})
	f.aim(in.Target)
	f.withService.on, f.withService.release, f.withService.reason = true, in.Release, in.Reason
	var err error
	if f.to, err = d.directory(ctx, in.Dir); err != nil {
		return nil, err
	}
	st, err := d.status(ctx)
	if err != nil {
		return nil, err
	}
	out, m, err := f.planWithService(ctx, st, in.Target)
	if err != nil {
		return nil, err
	}
	begin := func() (*restore.Operation, error) { return f.begin(ctx, d.operations(""), st, out, m) }
	return &deskPlan{f.forConsole(st, out), f.to, begin}, nil
}

// directory is the data directory to restore into: the one that was asked for, PGDATA, or the named server's own.
func (h Host) directory(ctx context.Context, asked string) (string, error) {
	dir := cmp.Or(asked, os.Getenv("PGDATA"))
	if dsn := Database(); dir == "" && dsn != "" {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		var err error
		if dir, err = pgwire.DataDirectory(ctx, dsn); err != nil {
			return "", &console.Error{Code: console.CodeUsage, Message: "the database does not say where its files are: " + err.Error(), Hint: "name the data directory, or set PGDATA"}
		}
		if _, err := os.Stat(dir); err != nil {
			return "", &console.Error{Code: console.CodeUsage, Message: fmt.Sprintf("the database's files are in %s, which is not on this machine: %v", dir, err), Hint: "restore on the database's own machine, or name another data directory"}
		}
	}
	if dir == "" {
		return "", &console.Error{Code: console.CodeUsage, Message: "nobody has said where the database's files are", Hint: "name the data directory, or set PGDATA or DATABASE_URL"}
	}
	return filepath.Abs(dir)
}

// aim sets the flags that give the target.
func (f *targetFlags) aim(t restore.Target) {
	switch t.Kind {
	case restore.AtTime:
		f.time = t.Time.UTC().Format(time.RFC3339Nano)
	case restore.AtLSN:
		f.lsn = t.LSN.String()
	case restore.AtXID:
		f.xid = fmt.Sprint(t.XID)
	case restore.AtName:
		f.name = t.Name
	case restore.Immediate:
		f.immediate = true
	case restore.Latest:
	}
	if t.Timeline != 0 {
		f.timeline = fmt.Sprint(uint32(t.Timeline))
	}
	f.exclusive = t.Exclusive
}

// forConsole is the plan as consoles show plans.
func (f *restoreFlags) forConsole(st console.Status, out *serviceResult) console.Plan {
	p := out.Plan
	release := cmp.Or(f.withService.release, st.Stable)
	loss := p.Loss().Round(time.Second)
	if loss == 0 && p.Loss() > 0 {
		loss = time.Second
	}
	c := console.Plan{
		Op: "restore", Service: st.Service, Env: st.Environment, From: st.Stable, To: release, At: time.Now().UTC(), Lose: journal.Duration(loss),
		Summary: fmt.Sprintf("bring the database back to %s: from backup %s and %d WAL segments; the last transaction is %s",
			p.Target, p.Backup.ID, len(p.Segments), pointText(p.Reaches, "the backup's own")),
		Warnings: []string{fmt.Sprintf("The service is stopped for about %s; %s is promised (%s).", out.Duration, out.Limit, out.Basis)},
		Undo:     "restore to the newest point again: the repository keeps all that is archived",
	}
	if p.Loss() > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s of writes are LOST: everything after the target, and what is written until the service has stopped (%s).", loss, p.LossBasis()))
	}
	c.Warnings = append(c.Warnings, p.Doubts...)
	for _, o := range out.InTheWay {
		c.Warnings = append(c.Warnings, "IN THE WAY: "+o.String())
	}
	c.Warnings = append(c.Warnings, out.Notes...)
	for _, s := range out.Steps {
		c.Steps = append(c.Steps, console.PlanStep{Do: s.Do, Touches: s.Touches, Duration: journal.Duration(s.Duration.Std().Round(time.Second))})
		c.Duration += journal.Duration(s.Duration)
	}
	c.Duration = journal.Duration(c.Duration.Std().Round(time.Second))
	var reaches string
	if p.Reaches != nil {
		reaches = p.Reaches.LSN.String()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d|%s|%s|%s|%s", f.to, p.Target, p.Backup.ID, p.Timeline, reaches, st.Stable, release, out.Place))
	c.Hash = hex.EncodeToString(sum[:6])
	return c
}

// PlanRestore implements console.RecoveryDesk.
func (d Desk) PlanRestore(ctx context.Context, in console.RestoreRequest) (console.Plan, error) {
	p, err := d.plan(ctx, in)
	if err != nil {
		return console.Plan{}, err
	}
	return p.Plan, nil
}

// Restore implements console.RecoveryDesk.
func (d Desk) Restore(ctx context.Context, in console.RestoreRequest) (*restore.Operation, error) {
	p, err := d.plan(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := d.records().mustBeFree(ctx, p.dir, true); err != nil {
		return nil, &console.Error{Code: console.CodeLocked, Message: err.Error(), Hint: "go on with it, or give it up, first"}
	}
	if p.Hash != in.PlanHash {
		return nil, &console.Error{Code: console.CodeStalePlan, Message: "the plan is not what it was any more"}
	}
	if p.Lose.Std() > in.AcceptLoss {
		return nil, &console.Error{Code: console.CodeStalePlan, Message: fmt.Sprintf("%s of writes would be lost by now, %s were accepted", p.Lose, in.AcceptLoss)}
	}
	return p.begin()
}

// Resume implements console.RecoveryDesk.
func (d Desk) Resume(ctx context.Context, id string, abandon bool) (*restore.Operation, error) {
	r := d.records()
	o, err := r.unfinished(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	if abandon {
		return o, r.giveUp(ctx, o)
	}
	return o, r.takeUp(o)
}

func (d Desk) records() records { return records{host: d.Host, ops: d.operations("")} }

// RunJob implements console.RecoveryDesk. The job's end is told by its record in the repository, which the posture has.
func (d Desk) RunJob(_ context.Context, kind recovery.Kind) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	dir := filepath.Dir(d.operations("").Dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("start the %s: %w", kind, err)
	}
	path := filepath.Join(dir, string(kind)+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return "", fmt.Errorf("start the %s: %w", kind, err)
	}
	cmd := exec.Command(self, append([]string{"backup", "schedule", "run", string(kind), "--now"}, environmentFlags().args()...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return "", fmt.Errorf("start the %s: %w", kind, err)
	}
	go func() { _ = cmd.Wait() }() // what came of it is in the repository
	return fmt.Sprintf("%s begun (process %d); it goes on without this console, and writes to %s", kind, cmd.Process.Pid, path), nil
}
