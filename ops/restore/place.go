package restore

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// markerName is a file in the data directory while a restore is under way.
const markerName = "covet.restoring"

// PlaceState is what is in a directory that is to be restored into.
type PlaceState int

// The states.
const (
	Free       PlaceState = iota // absent or empty
	Unfinished                   // an interrupted restore
	Occupied                     // a data directory, in which no server runs
	Foreign                      // something that is no data directory
	Running                      // a server is using it
)

// Place describes a directory.
type Place struct {
	State  PlaceState
	Backup string // that an unfinished restore was of
	PID    int    // of the running server
}

// Inspect looks at a directory without touching it.
func Inspect(dir string) (Place, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return Place{}, nil
	}
	if err != nil {
		return Place{}, fmt.Errorf("look at %s: %w", dir, err)
	}
	if pid := cmp.Or(serverPID(dir), lingering(dir)); pid != 0 {
		return Place{State: Running, PID: pid}, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, markerName))
	if errors.Is(err, fs.ErrNotExist) {
		return Place{State: occupied(dir)}, nil
	}
	if err != nil {
		return Place{}, fmt.Errorf("look at %s: %w", dir, err)
	}
	var m marker
	if err := json.Unmarshal(text, &m); err != nil {
		return Place{State: occupied(dir)}, nil //nolint:nilerr // not one of ours, or cut off before anything was written
	}
	return Place{State: Unfinished, Backup: m.Backup}, nil
}

// occupied tells a data directory from anything else that somebody may have named by mistake.
func occupied(dir string) PlaceState {
	if info, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil && info.Mode().IsRegular() {
		return Occupied
	}
	return Foreign
}

type marker struct {
	Backup string            `json:"backup"`
	Spaces map[uint32]string `json:"spaces,omitempty"` // the tablespaces' places, which are the restore's own by now
}

// serverPID is the process that postmaster.pid names, where it is alive.
func serverPID(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 {
		return 0
	}
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return 0
	}
	return pid
}

// lingers is how long a server may take to end once it has removed its postmaster.pid.
const lingers = 2 * time.Second

// lingering is processIn that lets a server end which has shut down.
func lingering(dir string) int {
	for end := time.Now().Add(lingers); ; time.Sleep(10 * time.Millisecond) {
		pid := processIn(dir)
		_, err := os.Lstat(filepath.Join(dir, "postmaster.pid"))
		if pid == 0 || !errors.Is(err, fs.ErrNotExist) || time.Now().After(end) {
			return pid
		}
	}
}

// processIn is a process of PostgreSQL that works in a directory, as far as this user may see. It finds the server of a container, whose
// postmaster.pid means nothing outside of that, and what is left of one whose postmaster was killed.
func processIn(dir string) int {
	own, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	for pid := range postgresProcesses() {
		if at, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && os.SameFile(own, at) {
			return pid
		}
	}
	return 0
}

// postgresProcesses yields the processes of PostgreSQL servers on this machine.
func postgresProcesses() iter.Seq[int] {
	return func(yield func(int) bool) {
		all, _ := os.ReadDir("/proc") // without it there is nobody to be seen
		for _, p := range all {
			pid, err := strconv.Atoi(p.Name())
			if err != nil {
				continue
			}
			name, err := os.ReadFile(filepath.Join("/proc", p.Name(), "comm"))
			if err == nil && strings.TrimSpace(string(name)) == "postgres" && !yield(pid) {
				return
			}
		}
	}
}

// ErrOccupied is wrapped when a restore would overwrite something that it wasn't told to.
var ErrOccupied = errors.New("the directory is not empty")

// Allow decides whether a restore of a backup may write into a place. With force, what differs is overwritten and what
// isn't of the backup is removed; a running server's directory, and what is no data directory, is never touched.
func Allow(dir string, p Place, backupID string, force bool) error {
	switch {
	case p.State == Running:
		return fmt.Errorf("%w: a server (process %d) is running in %s: stop it first (pg_ctl stop -D %s)", ErrOccupied, p.PID, dir, dir)
	case p.State == Foreign:
		return fmt.Errorf("%w: %s holds something that is no data directory (it has no PG_VERSION), so not even --delta may overwrite it: choose another one with --to, or empty it yourself", ErrOccupied, dir)
	case p.State == Occupied && !force:
		return fmt.Errorf("%w: %s holds something already: choose another one with --to, or say --delta to make it the backup's, removing what isn't", ErrOccupied, dir)
	case p.State == Unfinished && p.Backup != backupID && !force:
		return fmt.Errorf("%w: %s holds an interrupted restore of backup %s: finish it with --backup %s, or say --delta to turn it into this one", ErrOccupied, dir, p.Backup, p.Backup)
	}
	return nil
}
