// Package pgctl starts PostgreSQL in a restored directory, with the machine's own binaries, and watches it recover.
package pgctl

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// Server is a data directory and the binaries to run it with.
type Server struct {
	Bin        string // folder of pg_ctl and pg_controldata
	Dir        string
	Credential *syscall.Credential // who it runs as; nil: whoever runs this
	Options    string              // for the server's command line
	Log        string              // file that gets the server's output
}

// FindBin returns the folder of the binaries for a data directory's major version.
func FindBin(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return "", fmt.Errorf("find PostgreSQL for %s: %w", dir, err)
	}
	return FindBinFor(strings.TrimSpace(string(text)))
}

// FindBinFor returns the folder of a major version's binaries: Debian's and Red Hat's places, then the PATH.
func FindBinFor(major string) (string, error) {
	for _, bin := range []string{"/usr/lib/postgresql/" + major + "/bin", "/usr/pgsql-" + major + "/bin"} {
		if _, err := os.Stat(filepath.Join(bin, "pg_ctl")); err == nil {
			return bin, nil
		}
	}
	if p, err := exec.LookPath("pg_ctl"); err == nil {
		if out, err := exec.Command(p, "--version").Output(); err == nil && strings.Contains(string(out), " "+major+".") {
			return filepath.Dir(p), nil
		}
	}
	return "", fmt.Errorf("PostgreSQL %s is not installed here: install postgresql-%s, or name its folder with --pg-bin", major, major)
}

// command prepares one of PostgreSQL's programs, with its output in plain English.
func (s Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, name), args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.Credential}
	return cmd
}

// Start starts the server and doesn't wait for it.
func (s Server) Start(ctx context.Context) error {
	args := []string{"-D", s.Dir, "-W", "-l", s.Log}
	if s.Options != "" {
		args = append(args, "-o", s.Options)
	}
	// Its output goes to a file: the server inherits it, and a pipe would stay open as long as the server runs.
	out, err := os.CreateTemp("", "covet-pg_ctl-")
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer func() { _ = os.Remove(out.Name()) }() // a leftover does no harm
	cmd := s.command(ctx, "pg_ctl", append(args, "start")...)
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	text, readErr := os.ReadFile(out.Name())
	if err := errors.Join(err, readErr, out.Close()); err != nil {
		return fmt.Errorf("start PostgreSQL in %s: %w: %s", s.Dir, err, bytes.TrimSpace(text))
	}
	return nil
}

// Stop stops the server in the given mode: smart, fast or immediate.
func (s Server) Stop(ctx context.Context, mode string) error {
	out, err := s.command(ctx, "pg_ctl", "-D", s.Dir, "-m", mode, "-w", "stop").CombinedOutput()
	if err != nil {
		return fmt.Errorf("stop PostgreSQL in %s: %w: %s", s.Dir, err, bytes.TrimSpace(out))
	}
	return nil
}

// State is what pg_control says of a cluster.
type State struct {
	Cluster  string // "in archive recovery", "in production", "shut down" and the like
	System   backup.SystemID
	Timeline backup.Timeline
	Replayed backup.LSN // at least; 0 when it doesn't recover
	// Needs are the settings that a server which replays the log must have, at least: those of the one that wrote it.
	Needs map[string]string
}

// Control reads the state.
func (s Server) Control(ctx context.Context) (State, error) {
	out, err := s.command(ctx, "pg_controldata", "-D", s.Dir).Output()
	if err != nil {
		return State{}, fmt.Errorf("read the control file in %s: %w", s.Dir, err)
	}
	return parseControl(out)
}

// needed are the settings, by their names in the control file.
var needed = map[string]string{
	"max_connections setting": "max_connections", "max_worker_processes setting": "max_worker_processes",
	"max_wal_senders setting": "max_wal_senders", "max_prepared_xacts setting": "max_prepared_transactions",
	"max_locks_per_xact setting": "max_locks_per_transaction",
}

func parseControl(out []byte) (st State, err error) {
	st.Needs = map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Database cluster state":
			st.Cluster = value
		case "Database system identifier":
			st.System, err = backup.ParseSystemID(value)
		case "Latest checkpoint's TimeLineID":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 32)
			st.Timeline = backup.Timeline(n)
		case "Minimum recovery ending location":
			st.Replayed, err = backup.ParseLSN(value)
		default:
			if name, ok := needed[key]; ok {
				st.Needs[name] = value
			}
		}
		if err != nil {
			return st, fmt.Errorf("read the control file: %w", err)
		}
	}
	return st, lines.Err()
}

// Outcome is how a recovery ended.
type Outcome struct {
	Timeline backup.Timeline // the new one
	LSN      backup.LSN      // where it left the old one
	Reason   string          // the server's words: "before transaction 741"
}

// DiedError reports a server that ended while it recovered.
type DiedError struct {
	Dir string
	Log string // its last words
}

func (e *DiedError) Error() string {
	return fmt.Sprintf("PostgreSQL in %s ended before it reached the target; it said:\n%s", e.Dir, e.Log)
}

// startGrace is how long a server may take to make its postmaster.pid.
const startGrace = 5 * time.Second

// Wait returns when the server, just started, has ended its recovery and takes writes. report is called with what it has
// replayed, at most a few times a second.
func (s Server) Wait(ctx context.Context, report func(State)) (Outcome, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	started, seen := time.Now(), false
	for {
		alive := s.alive()
		seen = seen || alive
		st, err := s.Control(ctx)
		if err != nil {
			return Outcome{}, err
		}
		if alive && st.Cluster == "in production" && !s.recovering() {
			return s.outcome()
		}
		if !alive && (seen || time.Since(started) > startGrace) {
			return Outcome{}, &DiedError{s.Dir, s.lastWords()}
		}
		report(st)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Outcome{}, ctx.Err()
		}
	}
}

// recovering says whether the server has yet to end its recovery. Until it begins, the control file is that of the
// server which was backed up, "in production".
func (s Server) recovering() bool {
	_, err := os.Stat(filepath.Join(s.Dir, "recovery.signal"))
	return err == nil
}

// alive says whether the process that postmaster.pid names is there.
func (s Server) alive() bool {
	text, err := os.ReadFile(filepath.Join(s.Dir, "postmaster.pid"))
	if err != nil {
		return false
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 {
		return false
	}
	err = syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// outcome reads the newest timeline's history, which the end of recovery has just written.
func (s Server) outcome() (o Outcome, err error) {
	files, err := filepath.Glob(filepath.Join(s.Dir, "pg_wal", "*.history"))
	if err != nil || len(files) == 0 {
		return o, errors.Join(err, fmt.Errorf("recovery in %s ended without a new timeline", s.Dir))
	}
	newest := files[len(files)-1]
	text, err := os.ReadFile(newest)
	if err != nil {
		return o, fmt.Errorf("read how recovery ended: %w", err)
	}
	if o.Timeline, err = backup.ParseTimeline(strings.TrimSuffix(filepath.Base(newest), ".history")); err != nil {
		return o, err
	}
	h, err := backup.ParseHistory(text)
	if err != nil || len(h) == 0 {
		return o, errors.Join(err, fmt.Errorf("%s says nothing of where recovery ended", newest))
	}
	o.LSN = h[len(h)-1].End
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if fields := strings.SplitN(lines[len(lines)-1], "\t", 3); len(fields) == 3 {
		o.Reason = fields[2]
	}
	return o, nil
}

// lastWords are the end of the server's log: the fatal lines, where there are any.
func (s Server) lastWords() string {
	text, err := os.ReadFile(s.Log)
	if errors.Is(err, fs.ErrNotExist) {
		return "(nothing)"
	}
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
