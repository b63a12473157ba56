package pgtest

import (
	"fmt"
	"path/filepath"
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
