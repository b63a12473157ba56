package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is one running process, as /proc shows it.
type process struct {
	pid     int
	program string // the base name of its first argument
	args    string
	env     string
}

// processes lists what runs on this machine. Zombies have no command line, and are not in it.
func processes() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(args) == 0 {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil {
			continue
		}
		first, _, _ := bytes.Cut(args, []byte{0})
		out = append(out, process{pid: pid, program: filepath.Base(string(first)),
			args: strings.ReplaceAll(string(args), "\x00", " "), env: string(env)})
	}
	return out
}

// workersOf are the processes that some covetd over the data directory started, and their descendants: all have its mark
// in their environment.
func workersOf(dir string) []process {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	sum := sha256.Sum256([]byte(dir))
	mark := "COVETD_OWNER=" + hex.EncodeToString(sum[:8]) + "/"
	var out []process
	for _, p := range processes() {
		if strings.Contains(p.env, mark) {
			out = append(out, p)
		}
	}
	return out
}

// startedBy are the workers of one covetd.
func startedBy(pid int, all []process) []process {
	var out []process
	for _, p := range all {
		if strings.Contains(p.env, "/"+strconv.Itoa(pid)+"/") {
			out = append(out, p)
		}
	}
	return out
}

// covetdsOf are the covetds over a data directory: the one that serves, and what takes over or is taken over from.
func covetdsOf(dir string) []int {
	var out []int
	for _, p := range processes() {
		if p.program == "covetd" && strings.Contains(p.args, "--data-dir "+dir+" ") {
			out = append(out, p.pid)
		}
	}
	return out
}

// awaitNoWorkers fails the test unless every worker of the place is gone in time.
func (p *place) awaitNoWorkers(within time.Duration) {
	p.t.Helper()
	deadline := time.Now().Add(within)
	for {
		left := workersOf(p.dir)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			for _, w := range left {
				p.t.Errorf("worker %d is left over: %s", w.pid, w.args)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// kill kills a process that may have ended.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}
