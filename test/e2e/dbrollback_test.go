package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/test/pg"
	"github.com/covetpy/covet/test/s3"
)

// bookshop is a service whose releases belong to their data: v1.0.0 to the book up to entry 3, v1.1.0 to that up to entry 5.
type bookshop struct {
	*place
	pg    *pgtest.Cluster
	repo  []string // environment of whoever uses the repository
	where []string // flags by which covetctl finds the service
	alive bool     // covetd runs
	// fits looks whether the service answers with the release that belongs to the restored data.
	fits func() bool
	next func() // after each kill; nil: nothing

	mu    sync.Mutex
	mixed []string // answers that must never have been given
	seen  map[string]int
	apart bool // release and data don't fit just now, by the test's own doing
}

const bookEntry, bookRestorePoint = 3, "entry-3"

// newBookshop has v1.1.0 serving the newest data, which are archived; entry 3 is a restore point.
func newBookshop(t *testing.T, kind string, alive bool) *bookshop {
	t.Helper()
	b := newBook(t, kind)
	b.alive, b.fits = alive, func() bool { return b.answer() == "v1.0.0 3" }
	b.place = empty(t)
	b.where = []string{"--data-dir", b.dir}
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		b.must(0, "release", "add", v, "--instances", "2", "--env", "VERSION="+v, "--env", "BOOK="+b.pg.DSN(), "--", built.book)
	}
	b.must(0, "rollout", "start", "v1.0.0", "--strategy", "blue-green", "--bake", "0s", "--keep", "0s")
	b.forward()
	return b
}

// newBook is the database up to entry 3, with a backup of the time before that.
func newBook(t *testing.T, kind string) *bookshop {
	t.Helper()
	b := &bookshop{seen: map[string]int{}}
	dir := pgtest.Dir(t)
	b.repo = append(os.Environ(), "COVET_SERVICE=books", "COVET_REPO=file://"+dir+"/repo", "AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey)
	if kind == "s3" {
		srv := s3test.Start(t)
		b.repo = append(b.repo, "COVET_REPO=s3://"+srv.Bucket(t)+"/prod", "COVET_S3_ENDPOINT="+srv.Endpoint, "S3_REGION=us-east-1")
	}
	b.pg = pgtest.Start(t, pgtest.Options{Env: b.repo, Settings: map[string]string{"archive_mode": "on", "archive_command": built.covetctl + " wal push %p"}})
	b.pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler AS SELECT n, md5(n::text) FROM generate_series(1, 100000) n", "INSERT INTO marks SELECT generate_series(1, 2)")
	backup := pgtest.Command(t, built.covetctl, "backup", "run", "--database-url", b.pg.DSN())
	backup.Env = b.repo
	if out, err := backup.CombinedOutput(); err != nil {
		t.Fatalf("backup: %v\n%s", err, out)
	}
	b.pg.Exec("INSERT INTO marks VALUES (3)")
	b.pg.One("SELECT pg_create_restore_point('" + bookRestorePoint + "')")
	return b
}

// answer is what the service says just now, or nothing.
func (b *bookshop) answer() string {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 3 * time.Second}
	resp, err := c.Get(b.url + "/")
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(text)
}

// forward writes what v1.1.0 is for, and rolls it out.
func (b *bookshop) forward() {
	b.t.Helper()
	b.setApart(true)
	defer b.setApart(false)
	b.write()
	b.must(0, "rollout", "start", "v1.1.0", "--strategy", "blue-green", "--bake", "0s", "--keep", "0s", "--force")
	if !b.alive {
		b.kill()
	}
}

// write has the entries that only v1.1.0 knows what to do with, in the archive too.
func (b *bookshop) write() {
	b.t.Helper()
	b.pg.Exec("INSERT INTO marks VALUES (4), (5)")
	last := b.pg.One("SELECT pg_walfile_name(pg_switch_wal())")
	pgtest.Eventually(b.t, last+" is archived", func() bool { return b.pg.One("SELECT last_archived_wal FROM pg_stat_archiver") >= last })
}

func (b *bookshop) setApart(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.apart = yes
}

// watch asks all the time, and takes note of answers in which release and data don't fit.
func (b *bookshop) watch(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(15 * time.Millisecond)
		b.mu.Lock()
		before := b.apart
		b.mu.Unlock()
		s := b.answer()
		b.mu.Lock()
		b.seen[s]++
		if s != "" && !before && !b.apart && s != "v1.0.0 3" && s != "v1.1.0 5" {
			b.mixed = append(b.mixed, s)
		}
		b.mu.Unlock()
	}
}

// ctl prepares a covetctl as the operator calls it.
func (b *bookshop) ctl(args ...string) *exec.Cmd {
	cmd := exec.Command(built.covetctl, append(slices.Clone(b.where), args...)...)
	cmd.Env = append(slices.Clone(b.repo), "HOME="+b.dir, "NO_COLOR=1", "USER=alice")
	return cmd
}

func (b *bookshop) say(args ...string) answer {
	b.t.Helper()
	cmd := b.ctl(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	return answer{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
}

// rollback is the one command.
func (b *bookshop) rollback(more ...string) []string {
	return append([]string{"restore", "--to", b.pg.Dir, "--target-name", bookRestorePoint, "--with-service", "--release", "v1.0.0",
		"--pg-options", fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -k %s", b.pg.Port, filepath.Dir(b.pg.Dir))}, more...)
}

// record is the record that lies beside the directory, where it is not finished.
func (b *bookshop) record() *restore.Operation {
	o, err := restore.Beside(b.pg.Dir)
	if err != nil {
		b.t.Fatal(err)
	}
	if o != nil && o.Finished() {
		return nil
	}
	return o
}

// killAt runs a covetctl, and kills the process that does the work with -9 as soon as now says so. It returns the step that was
// under way, or empty where the work ended before.
func (b *bookshop) killAt(cmd *exec.Cmd, now func(*restore.Operation) bool) (step string, said answer) {
	b.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its exit status tells
	}()
	for step == "" {
		select {
		case <-ended:
			return "", answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
		case <-time.After(500 * time.Microsecond):
		}
		if o := b.record(); o != nil && o.Running() && now(o) {
			if err := syscall.Kill(o.PID, syscall.SIGKILL); err == nil {
				step = "?"
			}
		}
	}
	<-ended
	if o := b.record(); o != nil && o.Current() != nil {
		step = o.Current().Name
	}
	return step, answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// halfDone checks that whoever comes upon the killed restore is told what is so, and how to go on.
func (b *bookshop) halfDone(step string, front answer) {
	b.t.Helper()
	o := b.record()
	if o == nil || o.Finished() {
		return // it was killed in the moment before its end
	}
	if front.code != 8 || !front.says("restore resume "+o.ID) {
		b.t.Errorf("killed at %s, whoever waited for it is told: %v", step, front)
	}
	do := o.Current().Do
	for _, args := range [][]string{{"status"}, {"restore", "status"}, b.rollback("--yes"), {"restore", "--to", b.pg.Dir}} {
		a := b.say(args...)
		want := 0
		if args[0] == "restore" && args[1] != "status" {
			want = 7
		}
		if a.code != want || !a.says(o.ID, do, "covetctl restore resume") {
			b.t.Errorf("killed at %s, covetctl %s says: %v", step, strings.Join(args[:min(2, len(args))], " "), a)
		}
	}
	var st struct {
		Restores []struct{ ID, State, Step string }
	}
	if a := b.say("status", "-o", "json"); json.Unmarshal([]byte(a.out), &st) != nil || len(st.Restores) != 1 || st.Restores[0].State != "stopped" || st.Restores[0].Step != do {
		b.t.Errorf("killed at %s, covetctl status -o json says: %v", step, a)
	}
}

// done checks that the database and the service are where they should be.
func (b *bookshop) done() {
	b.t.Helper()
	if got := b.pg.One("SELECT count(*) || ' ' || max(n) FROM marks"); got != "3 3" {
		b.t.Errorf("the database holds %s", got)
	}
	if !b.alive {
		b.start()
	}
	b.await(60*time.Second, "v1.0.0 serves the old data", b.fits)
	if a := b.say("status"); a.code != 0 || a.says("STANDS") || a.says("STOPPED") {
		b.t.Errorf("when all is done: %v", a)
	}
	if a := b.say("audit"); !a.says("restore of "+b.pg.Dir, "done") {
		b.t.Errorf("the audit log has nothing of the restore: %v", a)
	}
}

// steps are all that a database rollback has.
var steps = []string{"stop-service", "stop-database", "keep-log", "copy", "configure", "recover", "check", "release", "start-service"}

// The one command is killed with -9 in each of its steps, one after the other, and then at random moments; by a folder and by
// S3, with covetd alive and dead.
func TestDatabaseRollbackKilledEverywhere(t *testing.T) {
	for _, kind := range []string{"file", "s3"} {
		for _, alive := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, covetd alive %v", kind, alive), func(t *testing.T) {
				b := newBookshop(t, kind, alive)
				ctx, stop := context.WithCancel(t.Context())
				var watching sync.WaitGroup
				watching.Go(func() { b.watch(ctx) })
				b.killedInEachStep()
				b.forward()
				b.killedAtRandom()
				stop()
				watching.Wait()
				if len(b.mixed) > 0 {
					t.Errorf("%d answers in which release and data don't fit: %v", len(b.mixed), b.mixed[:min(len(b.mixed), 5)])
				}
				if alive && (b.seen["v1.0.0 3"] == 0 || b.seen["v1.1.0 5"] == 0) {
					t.Errorf("nothing was to be seen: %v", b.seen)
				}
			})
		}
	}
}

func (b *bookshop) killedInEachStep() {
	b.t.Helper()
	cmd := b.ctl(b.rollback("--yes")...)
	var killed []string
	for _, want := range steps {
		at := slices.Index(steps, want)
		step, front := b.killAt(cmd, func(o *restore.Operation) bool {
			s := o.Current()
			return s != nil && s.State == restore.Doing && slices.Index(steps, s.Name) >= at
		})
		if step == "" {
			b.t.Fatalf("before it could be killed at %s it ended: %v", want, front)
		}
		killed = append(killed, step)
		if b.next != nil {
			b.next()
		}
		b.halfDone(step, front)
		cmd = b.ctl("restore", "resume")
	}
	b.t.Logf("killed at %v", killed)
	slices.Sort(killed)
	if n := len(slices.Compact(killed)); n < len(steps)-1 { // of the quickest it may have come a moment too late
		b.t.Errorf("it was killed in only %d of its steps: %v", n, killed)
	}
	if a := b.say("restore", "resume"); a.code != 0 && !a.says("is finished") {
		b.t.Fatalf("the last of them: %v", a)
	}
	b.done()
}

func (b *bookshop) killedAtRandom() {
	b.t.Helper()
	cmd := b.ctl(b.rollback("--yes")...)
	kills := 0
	for ; kills < 6; kills++ {
		pause := time.Duration(rand.IntN(800*(kills+1))) * time.Millisecond
		var began time.Time
		step, front := b.killAt(cmd, func(*restore.Operation) bool {
			if began.IsZero() {
				began = time.Now()
			}
			return time.Since(began) >= pause
		})
		if step == "" {
			if front.code != 0 && !front.says("is finished") {
				b.t.Fatalf("after %d kills: %v", kills, front)
			}
			break
		}
		if b.next != nil {
			b.next()
		}
		b.halfDone(step, front)
		cmd = b.ctl("restore", "resume")
	}
	if a := b.say("restore", "resume"); a.code != 0 && !a.says("is finished") {
		b.t.Fatalf("the last of them: %v", a)
	}
	b.t.Logf("killed at %d random moments", kills)
	b.done()
}
