package walside

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Prefetched is a folder beside a recovering server's log into which one process fetches segments ahead of the recovery,
// and from which restore_command takes them. What isn't there is fetched from the repository.
type Prefetched struct{ Dir string }

// Names in the folder besides those of segments.
const (
	WantedFile  = "wanted"  // what restore_command brought last
	ComingMark  = ".coming" // behind the name of a segment that is being fetched
	PrefetchDir = "fetched-"
	LockName    = "lock"
)

// PrefetchedIn is the folder for a server whose pg_wal is walDir, from the repository that id names. Its name carries the
// run of the operating system, since what it holds is not synced: after a crash of the machine it counts for nothing.
// Where the system doesn't tell runs apart there is none.
func PrefetchedIn(walDir, id string) (Prefetched, bool) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Prefetched{}, false
	}
	return Prefetched{filepath.Join(walDir, ScratchDir, PrefetchDir+sum(id+"\n"+string(boot)))}, true
}

// Take moves a segment from the folder to path, and says whether it was there. One that is on its way is waited for.
func (p Prefetched) Take(ctx context.Context, name, path string) bool {
	for p.coming(name) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	return os.Rename(filepath.Join(p.Dir, name), path) == nil && p.Want(name) == nil
}

// coming says whether a segment is being fetched by a process that lives.
func (p Prefetched) coming(name string) bool {
	_, err := os.Lstat(filepath.Join(p.Dir, name+ComingMark))
	return err == nil && p.Busy()
}

// Busy says whether a process fills the folder.
func (p Prefetched) Busy() bool { return Locked(filepath.Join(p.Dir, LockName)) }

// Want notes what restore_command brought last: the segments behind it are wanted next.
func (p Prefetched) Want(name string) error {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return err
	}
	temp := filepath.Join(p.Dir, WantedFile+"."+strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(temp, []byte(name), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(p.Dir, WantedFile))
}

// Locked says whether a process holds the lock that a file stands for.
func Locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // nothing was written
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// InRecovery says whether a server runs in the data directory and hasn't ended its recovery.
func InRecovery(dataDir string) bool {
	signalled := false
	for _, name := range []string{"recovery.signal", "standby.signal"} {
		if _, err := os.Lstat(filepath.Join(dataDir, name)); err == nil {
			signalled = true
		}
	}
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil || !signalled {
		return false
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	return err == nil && pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
