package action

import (
	"fmt"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/restore"
)

// Restore is what the desk of recovery is asked. It is no question of the service's.
const Restore console.Op = "restore"

// recoveries are the actions on the database's backups.
func recoveries() []Action {
	return []Action{
		{ID: "backup.job", Title: "Back up, verify or drill now", Key: "S", Command: "backup schedule run", Op: "backup.job", Kind: Change, On: "backups", enabled: hasRecovery},
		{ID: "restore.type", Title: "Type the point: a time, LSN, transaction or name", Key: "g", Command: "restore", On: "restore", page: "restore", args: restoreArgs, enabled: hasRecovery},
		{ID: "restore.dir", Title: "Name the data directory to restore into", Key: "d", Command: "restore", On: "restore", page: "restore", args: restoreArgs, enabled: hasRecovery},
		{ID: "restore.release", Title: "Choose the release that serves afterwards", Key: "v", Command: "restore", On: "restore", page: "restore", args: restoreArgs, enabled: hasRecovery},
		{ID: "restore.plan", Title: "Plan a restore to this point", Key: "p", Command: "restore", Op: Restore, Kind: Plan, On: "restore", args: planArgs, enabled: mayAim},
		{ID: "restore.start", Title: "Restore the database to this point", Key: "S", Command: "restore", Op: Restore, Kind: Change, Destructive: true, On: "restore", args: restoreArgs, enabled: mayRestore},
		{ID: "restore.resume", Title: "Go on with the restore that stands still", Key: "R", Command: "restore resume", Op: "restore.resume", Kind: Change, On: "restore", args: operationArg, enabled: mayTakeUp},
		{ID: "restore.abandon", Title: "Give up the restore that stands still", Key: "A", Command: "restore abandon", Op: "restore.abandon", Kind: Change, On: "restore", args: abandonArgs, enabled: mayTakeUp},
	}
}

func hasRecovery(s State) string {
	switch {
	case s.Recovery:
		return ""
	case s.RecoveryOf != "":
		return "those of " + s.RecoveryOf + " are known, 0 goes back there"
	}
	return "backups cannot be looked at from here"
}

func mayAim(s State) string {
	switch {
	case !s.Recovery:
		return hasRecovery(s)
	case s.Point == nil:
		return "the point is chosen on the restore page: t"
	}
	return s.Point.Why
}

func mayRestore(s State) string {
	if why := mayAim(s); why != "" {
		return why
	}
	if o := s.Snap.Restore; o != nil && !o.Finished() {
		return fmt.Sprintf("restore %s is not finished: R goes on with it, A gives it up", o.ID)
	}
	return ""
}

func mayTakeUp(s State) string {
	switch {
	case !s.Recovery:
		return hasRecovery(s)
	case s.Snap.Restore == nil || s.Snap.Restore.Finished():
		return "no restore stands still"
	case s.Snap.Restoring:
		return "a process is at work on it"
	}
	return ""
}

func operationArg(s State) []string {
	if s.Snap == nil || s.Snap.Restore == nil {
		return nil
	}
	return []string{s.Snap.Restore.ID}
}

func abandonArgs(s State) []string { return append(operationArg(s), "--yes") }

func planArgs(s State) []string { return append(restoreArgs(s), "--plan") }

// pgdata stands for the data directory where nobody has named it.
const pgdata = "$PGDATA"

// restoreArgs are those of the command that restores to the chosen point.
func restoreArgs(s State) []string {
	if s.Point == nil {
		return nil
	}
	in := s.Point.Request
	dir := in.Dir
	if dir == "" {
		dir = pgdata
	}
	args := append([]string{"--to", dir}, targetArgs(in.Target)...)
	args = append(args, "--with-service")
	if in.Release != "" {
		args = append(args, "--release", in.Release)
	}
	return args
}

func targetArgs(t restore.Target) []string {
	switch t.Kind {
	case restore.AtTime:
		return []string{"--target-time", strings.TrimSuffix(t.Time.UTC().Format(time.RFC3339Nano), ".")}
	case restore.AtLSN:
		return []string{"--target-lsn", t.LSN.String()}
	case restore.AtXID:
		return []string{"--target-xid", fmt.Sprint(t.XID)}
	case restore.AtName:
		return []string{"--target-name", t.Name}
	case restore.Immediate:
		return []string{"--immediate"}
	}
	return nil
}
