package backupcmd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/covetpy/covet/ops/restore"
)

// pinned are the flags for another process that does the same.
func (f *restoreFlags) pinned() []string {
	out := append([]string{"--to", f.to}, f.args()...)
	if f.withService.on {
		out = append(out, "--with-service")
	}
	for _, o := range []struct{ flag, value string }{
		{"target-time", f.time}, {"target-lsn", f.lsn}, {"target-xid", f.xid}, {"target-name", f.name}, {"system", f.system}, {"owner", f.owner},
		{"pg-bin", f.pgBin}, {"pg-options", f.pgOptions}, {"action", f.action}, {"archive", f.archive}, {"workers", strconv.Itoa(f.workers)},
		{"release", f.withService.release}, {"reason", f.withService.reason}, {"check-database", f.withService.checkDatabase},
		{"check-user", f.withService.checkUser},
	} {
		if o.value != "" {
			out = append(out, "--"+o.flag+"="+o.value)
		}
	}
	if f.time != "" { // a time without a zone is this process's
		if t, err := parseTime(f.time); err == nil {
			out = append(out, "--target-time="+t.UTC().Format("2006-01-02T15:04:05.999999Z"))
		}
	}
	for oid, dir := range f.spaces {
		out = append(out, "--tablespace="+oid+"="+dir)
	}
	for _, q := range f.withService.checks {
		out = append(out, "--check="+q)
	}
	if f.immediate {
		out = append(out, "--immediate")
	}
	for _, o := range []struct {
		flag string
		on   bool
	}{{"--exclusive", f.exclusive}, {"--start", f.start}, {"--delta", f.delta}} {
		if o.on {
			out = append(out, o.flag)
		}
	}
	return out
}

// startWorker starts the process that does the work. It has a session of its own: no terminal's end reaches it. How it finds
// the service is said by whoever starts it: another person's way there may be another.
func (h Host) startWorker(o *restore.Operation, ops restore.Operations) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(ops.Dir, o.ID+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start the restore: %w", err)
	}
	args := append([]string{"restore"}, o.Args...)
	if h.Flags != nil {
		args = append(args, h.Flags()...)
	}
	cmd := exec.Command(self, append(args, "--state-dir="+filepath.Dir(ops.Dir), "--worker="+o.ID)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return fmt.Errorf("start the restore: %w", err)
	}
	go func() { _ = cmd.Wait() }() // so that it is seen to be gone when it is; how it ended is in the record
	return nil
}
