// Package backup measures Covet against the peers that the machine has (pgBackRest, barman-cloud, WAL-G, pg_basebackup): one
// PostgreSQL, one S3 server over TLS, turn by turn in one run. Run it with `make bench-backup`. BENCH_GB is the size of
// the database, BENCH_SEGMENTS how many WAL segments are archived and replayed.
package backup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// arena is what all tools work on.
type arena struct {
	b        *testing.B
	dir      string
	s3       *s3test.Server
	pg       *pgtest.Cluster
	env      []string
	bytes    int64 // of the database
	segments int
	tools    []*tool
}

func BenchmarkBackup(b *testing.B) {
	a := newArena(b)
	gb := number(b, "BENCH_GB", 0.3)
	a.fill(int(gb * 1000 / 18))
	a.segments = int(number(b, "BENCH_SEGMENTS", 24))
	a.enlist()
	a.fullBackups()
	a.restores("restore", "restore to a started server")
	a.change()
	a.secondBackups()
	a.restores("restore_changed", "restore of the second backup")
	a.log()
}

func number(b *testing.B, name string, otherwise float64) float64 {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n <= 0 {
		b.Fatalf("%s=%s isn't a positive number", name, text)
	}
	return n
}

func newArena(b *testing.B) *arena {
	b.Helper()
	a := &arena{b: b, dir: pgtest.Dir(b), s3: s3test.StartTLS(b)}
	a.env = append(os.Environ(),
		"AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey, "AWS_CA_BUNDLE="+a.s3.CAFile,
		"AWS_REGION=us-east-1", "S3_REGION=us-east-1", "COVET_S3_ENDPOINT="+a.s3.Endpoint, "COVET_S3_CA_FILE="+a.s3.CAFile,
		"COVET_SERVICE=bench", "COVET_WAL_AGENT=", "HOME="+a.dir)
	a.pg = pgtest.Start(b, pgtest.Options{Env: a.env, Settings: map[string]string{
		"wal_level": "replica", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "archive_mode": "on", "archive_command": "false",
		"shared_buffers": "256MB", "autovacuum": "off", // what it writes would be counted for whoever's turn it is
	}})
	return a
}

func (a *arena) fill(scale int) {
	a.b.Helper()
	must(a.b, pgtest.Command(a.b, "pgbench", "-i", "-q", "-F", "90", "-s", strconv.Itoa(max(scale, 1)), a.pg.DSN()))
	// A sixth cannot be compressed, as in the database that the targets were set for: pgbench's rows alone are nearly empty.
	a.pg.Exec("CREATE EXTENSION pgcrypto", fmt.Sprintf("CREATE TABLE noise AS SELECT gen_random_bytes(1000) AS bytes FROM generate_series(1, %d)", 2600*max(scale, 1)),
		"VACUUM FREEZE", "CHECKPOINT")
	n, err := strconv.ParseInt(a.pg.Value("select sum(pg_database_size(datname))::bigint::text from pg_database"), 10, 64)
	if err != nil {
		a.b.Fatal(err)
	}
	a.bytes = n
	fmt.Printf("# database of %d MB, PostgreSQL %s, versitygw over TLS; all run in turn on one machine\n", n/1_000_000, a.pg.Value("SHOW server_version"))
}

// turn lets a tool archive the server's log, and no other.
func (a *arena) turn(t *tool) {
	a.b.Helper()
	command := t.push
	if command == "" {
		command = "false"
	}
	a.pg.Exec("ALTER SYSTEM SET archive_command = '"+strings.ReplaceAll(command, "'", "''")+"'", "SELECT pg_reload_conf()")
	if t.push == "" {
		return
	}
	last := a.pg.One("SELECT pg_walfile_name(pg_switch_wal())")
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(a.status(last + ".done")); err == nil { // what was archived last may be an earlier backup's history file
			return
		}
		if time.Now().After(deadline) {
			log := a.pg.Log()
			stat := a.pg.One("SELECT pg_stat_archiver::text FROM pg_stat_archiver")
			t.fail(t.push, errors.New("it doesn't archive "+last+" but "+stat), []byte(log[max(0, len(log)-300):]))
			return
		}
	}
}

func (a *arena) fullBackups() {
	a.b.Helper()
	for _, t := range a.tools {
		if t.full == "" {
			continue
		}
		if t.prepare != "" && !a.try(t, t.prepare) {
			continue
		}
		a.turn(t)
		before, first := a.storedBy(t), watchFirst(a.b, a.place(t))
		t.measure(a, "full", t.full)
		t.first, t.stored = first(), a.storedBy(t)-before
	}
	a.report("backup_full", "full", func(t *tool) string { return fmt.Sprintf(" stored_mb=%d first_s=%.2f", t.stored/1_000_000, t.first) })
}

// change touches a row on one page in a hundred.
func (a *arena) change() {
	a.b.Helper()
	a.pg.Exec("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 5500 = 1", "CHECKPOINT")
}

func (a *arena) secondBackups() {
	a.b.Helper()
	for _, t := range a.tools {
		if t.again == "" || t.out {
			continue
		}
		a.turn(t)
		before := a.storedBy(t)
		t.measure(a, "again", t.again)
		t.stored = a.storedBy(t) - before
	}
	a.report("backup_changed", "again", func(t *tool) string { return fmt.Sprintf(" stored_mb=%.1f", float64(t.stored)/1e6) })
}

// restores restores each tool's newest backup and starts it, twice: whoever comes first is the first to touch the memory, which a
// virtual machine has to be given by its host, and those behind it use what it has left. The quicker one counts.
func (a *arena) restores(name, what string) {
	a.b.Helper()
	for range 2 {
		for _, t := range a.tools {
			if t.restore == "" || t.out {
				continue
			}
			began := time.Now()
			r := a.restored(t)
			if r == nil {
				continue
			}
			wall := time.Since(began).Seconds()
			if had, ok := t.results[name]; !ok || wall < had.wall {
				t.results[name] = result{wall: wall, cpu: r.cpu, rss: r.rss}
			}
			r.stop()
		}
	}
	fmt.Printf("# %s:\n", what)
	a.report(name, name, nil)
}

// share is what part of a target, for the database of 3.32 GB that it was set for, something took.
func (a *arena) share(took, target float64) float64 {
	return took / (target * float64(a.bytes) / 3.32e9)
}

// targets are seconds and CPU seconds, and MB of memory whatever the size.
var targets = map[string]struct{ wall, cpu, rss float64 }{
	"backup_full": {6.5, 7, 80}, "restore": {4.3, 5, 256}, "backup_changed": {1.8, 1.2, 80}, "restore_changed": {5, 5, 256},
}

// report prints what each tool took for something, and the line with our ratios to the others.
func (a *arena) report(name, key string, more func(*tool) string) {
	var ours *result
	var ratios strings.Builder
	for _, t := range a.tools {
		r, ok := t.results[key]
		if !ok || t.out {
			continue
		}
		line := fmt.Sprintf("s=%.2f cpu_s=%.2f rss_mb=%d", r.wall, r.cpu, r.rss>>10)
		if more != nil {
			line += more(t)
		}
		if ours == nil {
			ours = &r
			if to, ok := targets[name]; ok {
				fmt.Fprintf(&ratios, " target_s=%.2f target_cpu=%.2f target_rss=%.2f", a.share(r.wall, to.wall), a.share(r.cpu, to.cpu), float64(r.rss>>10)/to.rss)
			}
			defer func() { fmt.Printf("bench %s %s%s\n", name, line, ratios.String()) }()
			continue
		}
		fmt.Printf("# %-15s %-22s %s\n", name, t.name, line)
		fmt.Fprintf(&ratios, " ratio_%s=%.2f", t.name, ours.wall/r.wall)
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
