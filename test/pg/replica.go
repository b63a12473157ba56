package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Follow makes a streaming replica of a running cluster and starts it. It ends with the test.
func Follow(tb testing.TB, primary *Cluster, settings map[string]string) *Cluster {
	tb.Helper()
	dir := filepath.Join(Dir(tb), "data")
	out, err := Command(tb, filepath.Join(Bin(tb), "pg_basebackup"), "-D", dir, "-R", "-X", "stream", "-c", "fast",
		"-d", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres", primary.Port)).CombinedOutput()
	if err != nil {
		tb.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	c := At(tb, dir)
	c.Configure(settings)
	c.Run()
	return c
}

// Promote makes a replica the primary.
func (c *Cluster) Promote() {
	c.tb.Helper()
	// Not by SQL: the session would be cancelled where what is replayed at last conflicts with it.
	if out, err := Command(c.tb, filepath.Join(Bin(c.tb), "pg_ctl"), "-D", c.Dir, "-w", "-t", "60", "promote").CombinedOutput(); err != nil {
		c.tb.Fatalf("promote: %v\n%s", err, out)
	}
}

// Kill ends the server at once, as a crash does.
func (c *Cluster) Kill() { c.Stop("immediate") }

// Freeze stops all processes of the server where they are, until thaw is called or the test ends: it holds its
// connections, and answers nothing.
func (c *Cluster) Freeze() (thaw func()) {
	c.tb.Helper()
	text, err := os.ReadFile(filepath.Join(c.Dir, "postmaster.pid"))
	if err != nil {
		c.tb.Fatal(err)
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	master, err := strconv.Atoi(string(first))
	if err != nil {
		c.tb.Fatal(err)
	}
	stopped := []int{master}
	c.signal(master, syscall.SIGSTOP)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", master, master))
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, field := range bytes.Fields(children) {
		if pid, err := strconv.Atoi(string(field)); err == nil {
			c.signal(pid, syscall.SIGSTOP)
			stopped = append(stopped, pid)
		}
	}
	thaw = func() {
		for _, pid := range stopped {
			c.signal(pid, syscall.SIGCONT)
		}
		stopped = nil
	}
	c.tb.Cleanup(func() { thaw() })
	return thaw
}

// signal sends a signal to a process of the server's. One that has ended needs none.
func (c *Cluster) signal(pid int, s syscall.Signal) {
	if err := syscall.Kill(pid, s); err != nil && err != syscall.ESRCH {
		c.tb.Errorf("signal %d: %v", pid, err)
	}
}
