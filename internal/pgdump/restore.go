package pgdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// Job is a planned restore of one database's dump.
type Job struct {
	Tools  Tools
	Stored *Stored
	Target Target
	Plan   *Plan
	// Jobs is how many work at once. More than one need the dump on a disk, in Dir, and what they did is not undone when one
	// of them fails.
	Jobs                  int
	Dir                   string
	NoOwner, NoPrivileges bool
	Report                func(backup.Progress)
	Notice                func(string)
}

// Atomic says whether a restore is done whole or not at all.
func (t Tools) Atomic(jobs int, server int) bool { return jobs <= 1 && !t.tooNew(server) }

// tooNew says whether pg_restore begins with a setting that the server doesn't know, and so can't stop at errors.
func (t Tools) tooNew(server int) bool { return t.Major() >= 17 && server < 17 }

// LeftError reports a restore that failed and left something behind.
type LeftError struct {
	Into string
	Err  error
}

func (e *LeftError) Error() string {
	return fmt.Sprintf("%v (what was restored by then is in %s: look at it, then drop it or restore again with --replace)", e.Err, e.Into)
}
func (e *LeftError) Unwrap() error { return e.Err }

// Run restores. Where it fails, nothing is left of it, except that a LeftError says so.
func (j Job) Run(ctx context.Context) (err error) {
	if j.Target.New {
		if err := j.Target.Create(ctx, j.Stored.Contents); err != nil {
			return err
		}
	}
	err = j.restore(ctx)
	if err == nil {
		return nil
	}
	if j.Target.New {
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer stop()
		if dropErr := j.Target.Remove(ctx); dropErr != nil {
			return &LeftError{j.Plan.Into, errors.Join(err, dropErr)}
		}
		return err
	}
	if j.Tools.Atomic(j.Jobs, j.Target.Major) {
		return err
	}
	return &LeftError{j.Plan.Into, err}
}

// restore runs pg_restore on the archive, as it comes or from a file.
func (j Job) restore(ctx context.Context) error {
	list, err := j.list()
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(list) }() // a leftover does no harm
	args := []string{"--dbname=" + j.Target.Conninfo.To(j.Target.Database), "--no-password", "--use-list=" + list}
	if j.Plan.Replaces {
		args = append(args, "--clean", "--if-exists")
	}
	if j.NoOwner {
		args = append(args, "--no-owner")
	}
	if j.NoPrivileges {
		args = append(args, "--no-privileges")
	}
	if !j.Tools.tooNew(j.Target.Major) {
		args = append(args, "--exit-on-error")
	}
	m := &counter{report: j.Report, total: j.Plan.Bytes, began: time.Now()}
	if j.Jobs > 1 {
		return j.parallel(ctx, args, m)
	}
	if j.Tools.Atomic(1, j.Target.Major) {
		args = append(args, "--single-transaction")
	}
	m.phase("restore")
	return j.run(ctx, args, func(w io.Writer) error {
		return j.Stored.Stream(ctx, j.Plan.choice, io.MultiWriter(w, m))
	}, nil)
}

// list writes what is to be restored, for pg_restore.
func (j Job) list() (name string, err error) {
	f, err := os.CreateTemp("", "covet-list-")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, e := range j.Plan.choice.Entries() {
		fmt.Fprintf(&b, "%d;\n", e.ID)
	}
	_, err = f.WriteString(b.String())
	return f.Name(), errors.Join(err, f.Close())
}

// parallel restores from a file, by several workers.
func (j Job) parallel(ctx context.Context, args []string, m *counter) error {
	f, err := os.CreateTemp(j.Dir, "covet-restore-*.dump")
	if err != nil {
		return fmt.Errorf("make a file for %d jobs: %w", j.Jobs, err)
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }() // nothing is lost with it
	m.phase("fetch")
	if err := j.Stored.File(ctx, j.Plan.choice, f, m.add); err != nil {
		return err
	}
	*m = counter{report: j.Report, total: j.Plan.Bytes, began: time.Now()}
	m.phase("restore")
	sizes := map[int]int64{}
	for _, e := range j.Plan.choice.Entries() {
		sizes[e.ID] = j.Stored.Bytes(e)
	}
	return j.run(ctx, append(args, "--verbose", "--jobs="+strconv.Itoa(j.Jobs), f.Name()), nil, func(line string) {
		if at := finished.FindStringSubmatch(line); at != nil {
			if id, err := strconv.Atoi(at[1]); err == nil {
				m.add(int(sizes[id]))
			}
		}
	})
}

var finished = regexp.MustCompile(`finished item (\d+) TABLE DATA`)

// run starts pg_restore, feeds it, and turns what it says into an error where it fails.
func (j Job) run(ctx context.Context, args []string, feed func(io.Writer) error, line func(string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := program(ctx, j.Tools, "pg_restore", args, j.Target.Conninfo)
	said := &verdict{line: line}
	cmd.Stderr = &remarks{notice: said.hear}
	if feed == nil {
		return j.judge(ctx, cmd.Run(), said)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start pg_restore: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start pg_restore: %w", err)
	}
	fed := feed(in)
	if fed != nil && !errors.Is(fed, syscall.EPIPE) {
		cancel()       // before it is told that this was all
		_ = cmd.Wait() // it was told to end, which undoes what it did
		return fed
	}
	_ = in.Close() // where it has ended, it says why itself
	return j.judge(ctx, cmd.Wait(), said)
}

// judge says what became of pg_restore.
func (j Job) judge(ctx context.Context, err error, said *verdict) error {
	said.mu.Lock()
	defer said.mu.Unlock()
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if said.harmless > 0 && said.harmless == said.errors {
		return nil
	}
	return fmt.Errorf("pg_restore failed (%w): %s%s", err, strings.Join(said.lines, "; "), hint(said.lines))
}

// hint is the way out of common failures.
func hint(lines []string) string {
	text := strings.Join(lines, "\n")
	switch {
	case strings.Contains(text, "role ") && strings.Contains(text, "does not exist"):
		return " (restore the roles first with --globals, or leave owners and privileges out with --no-owner --no-privileges)"
	case strings.Contains(text, "other objects depend on it"):
		return " (restore into a new database with --to-database, or drop what depends on it)"
	case strings.Contains(text, "already exists"):
		return " (see --plan, or restore into a new database with --to-database)"
	}
	return ""
}

// verdict hears what pg_restore says.
type verdict struct {
	line func(string)

	mu               sync.Mutex
	lines            []string
	errors, harmless int
}

// matters says whether a line is more than a step of its progress.
func matters(line string) bool {
	own, is := strings.CutPrefix(line, "pg_restore: ")
	if !is {
		return line != ""
	}
	for _, word := range []string{"error:", "warning:", "from TOC", "while", "detail:", "hint:"} {
		if strings.HasPrefix(own, word) {
			return true
		}
	}
	return false
}

func (v *verdict) hear(line string) {
	if v.line != nil {
		v.line(line)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if strings.HasPrefix(line, "pg_restore: error:") {
		v.errors++
		if strings.Contains(line, `unrecognized configuration parameter "transaction_timeout"`) {
			v.harmless++ // a setting of its own, that an older server hasn't got
		}
	}
	if len(v.lines) < remarksKept && matters(line) {
		v.lines = append(v.lines, line)
	}
}

// counter counts bytes and reports progress, some times a second.
type counter struct {
	report func(backup.Progress)
	total  int64
	began  time.Time
	name   string
	done   atomic.Int64
	last   atomic.Int64
}

func (c *counter) phase(name string) {
	c.name = name
	c.tell()
}

func (c *counter) add(n int) {
	c.done.Add(int64(n))
	now := time.Now().UnixMilli()
	if last := c.last.Load(); now-last > 250 && c.last.CompareAndSwap(last, now) {
		c.tell()
	}
}

func (c *counter) tell() {
	if c.report != nil {
		c.report(backup.Progress{Phase: c.name, Done: c.done.Load(), Total: c.total, Elapsed: time.Since(c.began)})
	}
}

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	c.add(len(b))
	return len(b), nil
}

// Globals makes the roles and tablespaces. Those that are there already stay as they are; notice is told of them.
func Globals(ctx context.Context, t Tools, s *Stored, to Target, notice func(string)) error {
	cmd := program(ctx, t, "psql", []string{"--no-psqlrc", "--quiet", "--no-password", "--dbname=" + to.Conninfo.To(to.From)}, to.Conninfo)
	var failures []string
	cmd.Stderr = &remarks{notice: func(line string) {
		if strings.Contains(line, "ERROR:") && !strings.Contains(line, "already exists") {
			failures = append(failures, line)
		} else if strings.Contains(line, "already exists") {
			notice(line)
		}
	}}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start psql: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Join(t.Dir, "psql"), err)
	}
	fed := errors.Join(s.Globals(ctx, in), in.Close())
	err = cmd.Wait()
	if len(failures) > 0 {
		return fmt.Errorf("restore the roles and tablespaces: %s (the others were made, and stay)", strings.Join(failures, "; "))
	}
	if err = errors.Join(fed, err); err != nil {
		return fmt.Errorf("restore the roles and tablespaces: %w (those that were made by then stay)", err)
	}
	return nil
}
