package backup

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
)

// restored is a server that a tool restored and that was started.
type restored struct {
	result
	a   *arena
	dir string
}

// restoredDir restores a tool's newest backup and starts the server, up to when it takes connections; nil where it failed.
func (a *arena) restored(t *tool) *restored {
	a.b.Helper()
	r := &restored{a: a, dir: filepath.Join(pgtest.Dir(a.b), "data")}
	taken, ok := t.take(a, strings.ReplaceAll(t.restore, "{DIR}", r.dir))
	if !ok {
		return nil
	}
	r.result = taken
	if !t.configures && t.fetch != "" {
		r.setRestoreCommand(t.fetch)
	}
	if err := r.start(); err != nil {
		t.fail("start what it restored", err, nil)
		return nil
	}
	return r
}

// setRestoreCommand makes the server recover with a command.
func (r *restored) setRestoreCommand(command string) {
	r.a.b.Helper()
	f, err := os.OpenFile(filepath.Join(r.dir, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		r.a.b.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "restore_command = '%s'\n", strings.ReplaceAll(command, "'", "''"))
	if err := f.Close(); err != nil {
		r.a.b.Fatal(err)
	}
	if err != nil {
		r.a.b.Fatal(err)
	}
	signal := filepath.Join(r.dir, "recovery.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		r.a.b.Fatal(err)
	}
	pgtest.Own(r.a.b, signal)
}

func (r *restored) logFile() string { return filepath.Join(filepath.Dir(r.dir), "log") }

func (r *restored) start() error {
	opts := "-c listen_addresses= -c archive_mode=off -c fsync=off -k " + filepath.Dir(r.dir)
	cmd := r.a.command(fmt.Sprintf("%s/pg_ctl -D %s -l %s -o '%s' -w -t 600 start", pgtest.Bin(r.a.b), r.dir, r.logFile(), opts))
	cmd.Dir = "/"
	err := cmd.Run()
	if err != nil {
		text, readErr := os.ReadFile(r.logFile())
		return fmt.Errorf("%w: %s", errors.Join(err, readErr), text[max(0, len(text)-300):])
	}
	return nil
}

func (r *restored) stop() {
	r.a.b.Helper()
	must(r.a.b, r.a.command(fmt.Sprintf("%s/pg_ctl -D %s -m immediate -w stop", pgtest.Bin(r.a.b), r.dir)))
	if err := os.RemoveAll(r.dir); err != nil {
		r.a.b.Fatal(err)
	}
}

// log measures archiving and replay.
func (a *arena) log() {
	a.b.Helper()
	a.turn(&tool{name: "nobody"})
	a.write16MB()
	names := a.ready()
	fmt.Printf("# %d WAL segments wait\n", len(names))
	for _, t := range a.tools {
		if t.push == "" || t.baseOnly || t.out {
			continue
		}
		a.drain(t, names)
	}
	a.reportDrain(len(names))
	a.reportOnes()
	a.replays()
}

// write16MB makes the server write the wanted number of segments.
func (a *arena) write16MB() {
	a.b.Helper()
	begin := a.pg.One("SELECT pg_current_wal_lsn()")
	for {
		must(a.b, pgtest.Command(a.b, "pgbench", "-n", "-c", "4", "-j", "2", "-T", "2", a.pg.DSN()))
		a.pg.Exec("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 40 = 3")
		n, err := strconv.ParseFloat(a.pg.Value("SELECT ((pg_current_wal_lsn() - '"+begin+"'::pg_lsn) / 16777216)::text"), 64)
		if err != nil {
			a.b.Fatal(err)
		}
		if n >= float64(a.segments) {
			a.pg.Exec("SELECT pg_switch_wal()")
			return
		}
	}
}

func (a *arena) status(name string) string {
	return filepath.Join(a.pg.Dir, "pg_wal", "archive_status", name)
}

// ready lists the segments that wait to be archived.
func (a *arena) ready() []string {
	a.b.Helper()
	files, err := filepath.Glob(a.status("*.ready"))
	if err != nil {
		a.b.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".ready"))
	}
	slices.Sort(names)
	return names
}

// drain measures single pushes and fetches of the last segments, and then how long all take.
func (a *arena) drain(t *tool, names []string) {
	a.b.Helper()
	a.s3.Clear(a.b, t.bucket)
	if t.prepare != "" && !a.try(t, t.prepare) {
		return
	}
	if t.daemon != "" {
		stop := a.daemon(t)
		defer stop()
	}
	before := a.storedBy(t)
	archiver := a.archiver()
	cpu := childrenCPU(archiver)
	detached := watchDetached("pgbackrest", "covetctl")
	began := nowSeconds()
	a.pg.Exec("ALTER SYSTEM SET archive_command = '"+strings.ReplaceAll(t.push, "'", "''")+"'", "SELECT pg_reload_conf()")
	for deadline := time.Now().Add(10 * time.Minute); len(a.ready()) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.b.Fatalf("%s didn't archive within 10 minutes", t.name)
		}
	}
	r := result{wall: nowSeconds() - began}
	a.pg.Exec("ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
	r.cpu = childrenCPU(archiver) - cpu + detached()
	t.results["drain"] = r
	t.stored = a.storedBy(t) - before
	a.ones(t, names[len(names)-3:])
	for _, name := range names { // for the next tool
		if err := os.Rename(a.status(name+".done"), a.status(name+".ready")); err != nil {
			a.b.Fatal(err)
		}
	}
}

// archiver waits for the server's archiver and returns its process.
func (a *arena) archiver() (pid int) {
	a.b.Helper()
	pgtest.Eventually(a.b, "the archiver runs", func() bool {
		n, err := strconv.Atoi(a.pg.One("SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE backend_type = 'archiver'"))
		pid = n
		return err == nil && n > 0
	})
	return pid
}

// daemon runs a tool's daemon, whose work counts as the tool's.
func (a *arena) daemon(t *tool) (stop func()) {
	a.b.Helper()
	cmd := a.command(t.daemon)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		a.b.Fatal(err)
	}
	socket := filepath.Join(a.dir, "agent.sock")
	pgtest.Eventually(a.b, "the agent listens", func() bool {
		_, err := os.Lstat(socket)
		return err == nil
	})
	peak := watchPeak(cmd.Process.Pid)
	return func() {
		rss := peak()
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
		r := t.results["drain"]
		r.cpu += cpuOf(cmd.ProcessState)
		r.rss = rss
		t.results["drain"] = r
	}
}

// ones measures single fetches, and single pushes of what the repository no longer has.
func (a *arena) ones(t *tool, names []string) {
	a.b.Helper()
	for _, name := range names {
		path := filepath.Join("pg_wal", name)
		if t.fetch != "" {
			fetched := filepath.Join(a.dir, "fetched")
			if err := os.RemoveAll(fetched); err != nil { // as PostgreSQL does before it asks
				a.b.Fatal(err)
			}
			if r, ok := t.time(a, strings.NewReplacer("%f", name, "%p", fetched).Replace(t.fetch)); ok {
				t.perG = append(t.perG, r.wall)
			}
		}
		if err := removeFrom(a.s3.Path(t.bucket, ""), name); err != nil {
			a.b.Fatal(err)
		}
		if r, ok := t.time(a, strings.ReplaceAll(t.push, "%p", path)); ok {
			t.perPush = append(t.perPush, r.wall)
		}
	}
}

func (a *arena) reportDrain(n int) {
	var ours *result
	var first, ratios string
	for _, t := range a.tools {
		r, ok := t.results["drain"]
		if !ok || t.out {
			continue
		}
		line := fmt.Sprintf("seg_s=%.1f cpu_s_per_seg=%.3f mb_per_seg=%.2f", float64(n)/r.wall, r.cpu/float64(n), float64(t.stored)/1e6/float64(n))
		if ours == nil {
			ours, first = &r, line
			continue
		}
		fmt.Printf("# %-15s %-22s %s\n", "wal_drain", t.name, line)
		ratios += fmt.Sprintf(" ratio_%s=%.2f", t.name, ours.wall/r.wall)
	}
	fmt.Printf("bench wal_drain %s%s\n", first, ratios)
}

func (a *arena) reportOnes() {
	for _, what := range []struct {
		name string
		of   func(*tool) []float64
	}{{"wal_push_one", func(t *tool) []float64 { return t.perPush }}, {"wal_fetch_one", func(t *tool) []float64 { return t.perG }}} {
		ours, ratios := 0.0, ""
		for _, t := range a.tools {
			v := what.of(t)
			if len(v) == 0 || t.out {
				continue
			}
			if ours == 0 {
				ours = median(v)
				continue
			}
			fmt.Printf("# %-15s %-22s s=%.3f\n", what.name, t.name, median(v))
			ratios += fmt.Sprintf(" ratio_%s=%.2f", t.name, ours/median(v))
		}
		fmt.Printf("bench %s s=%.3f%s\n", what.name, ours, ratios)
	}
}

// since lists the segments that the replay needs besides those that wait: the backup lies a few before them.
func (a *arena) since(first string) (names []string) {
	a.b.Helper()
	files, err := filepath.Glob(filepath.Join(a.pg.Dir, "pg_wal", "0*"))
	if err != nil {
		a.b.Fatal(err)
	}
	s, err := backup.ParseSegment(first, 16<<20)
	if err != nil {
		a.b.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Base(f)
		n, err := backup.ParseSegment(name, 16<<20)
		if err == nil && n.No+4 >= s.No && a.known(name) {
			names = append(names, name)
		}
	}
	return names
}

// known says whether PostgreSQL has finished a segment.
func (a *arena) known(name string) bool {
	files, err := filepath.Glob(a.status(name + ".*"))
	return err == nil && len(files) > 0
}

var redoDone = regexp.MustCompile(`redo done .* elapsed: ([0-9.]+) s`)

// replays restores the same backup with each tool's restore_command, and with a plain copy from a folder, which is the
// limit, and measures how fast the log is replayed.
func (a *arena) replays() {
	a.b.Helper()
	ours := a.tools[0]
	a.turn(ours) // its backup was removed with the rest
	if !a.try(ours, ours.full) {
		return
	}
	a.turn(&tool{name: "nobody"})
	a.write16MB()
	names := a.ready()
	since := a.since(names[0])
	folder := filepath.Join(a.dir, "copies")
	must(a.b, a.command("mkdir -p "+folder+" && cp pg_wal/0* "+folder))
	contenders := []*tool{{name: "cp", restore: ours.restore, fetch: "cp " + folder + "/%f %p", results: map[string]result{}}}
	filled := map[string]bool{}
	for _, t := range a.tools {
		if t.fetch == "" && t.replay == "" || t.out {
			continue
		}
		for _, name := range since {
			if filled[t.bucket] { // by the same tool in its other way
				break
			}
			if !a.try(t, strings.ReplaceAll(t.push, "%p", "pg_wal/"+name)) {
				break
			}
		}
		filled[t.bucket] = true
		contenders = append(contenders, &tool{name: t.name, restore: ours.restore, fetch: cmp.Or(t.replay, t.fetch), results: map[string]result{}})
	}
	for range 2 { // the quicker of two: whoever comes first finds colder caches
		for _, t := range contenders {
			a.replay(t)
		}
	}
	a.reportReplay(contenders[1:], contenders[0], len(names))
}

func (a *arena) replay(t *tool) {
	a.b.Helper()
	r := &restored{a: a, dir: filepath.Join(pgtest.Dir(a.b), "data")}
	if _, ok := t.take(a, strings.ReplaceAll(t.restore, "{DIR}", r.dir)); !ok {
		return
	}
	r.setRestoreCommand(strings.ReplaceAll(t.fetch, "{DIR}", r.dir))
	if err := r.start(); err != nil {
		t.fail("replay", err, nil)
		return
	}
	defer r.stop()
	pgtest.Within(a.b, 10*time.Minute, t.name+" has replayed the log", func() bool {
		text, err := os.ReadFile(r.logFile())
		if err != nil {
			a.b.Fatal(err)
		}
		m := redoDone.FindSubmatch(text)
		if m == nil {
			return false
		}
		s, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			a.b.Fatal(err)
		}
		if had, ok := t.results["replay"]; !ok || s < had.wall {
			t.results["replay"] = result{wall: s}
		}
		return true
	})
}

func (a *arena) reportReplay(tools []*tool, limit *tool, n int) {
	speed := func(t *tool) float64 { return float64(n) / t.results["replay"].wall }
	fmt.Printf("# %-15s %-22s seg_s=%.1f\n", "wal_replay", limit.name, speed(limit))
	line := fmt.Sprintf("bench wal_replay seg_s=%.1f ratio_cp=%.2f", speed(tools[0]), speed(limit)/speed(tools[0]))
	for _, t := range tools[1:] {
		if t.out {
			continue
		}
		fmt.Printf("# %-15s %-22s seg_s=%.1f\n", "wal_replay", t.name, speed(t))
		line += fmt.Sprintf(" ratio_%s=%.2f", t.name, speed(t)/speed(tools[0]))
	}
	fmt.Println(line)
}
