// Package backup measures full backups and restores of one PostgreSQL against the peers that Debian offers: the same
// cluster, the same disk, turn by turn. Run it with `make bench-backup`.
package backup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	pgtest "github.com/covetpy/covet/test/pg"
)

const rounds = 3

// contender is one tool: how it takes a full backup into an empty place, which it removes first.
type contender struct {
	name string
	into string
	run  func() *exec.Cmd
	wall []float64
	cpu  []float64
	rss  int64 // KiB
	size int64
}

// BenchmarkFullBackup prints a line for each contender. COVET_BENCH_SCALE is pgbench's scale: 15 MB each.
func BenchmarkFullBackup(b *testing.B) {
	scale := os.Getenv("COVET_BENCH_SCALE")
	if scale == "" {
		scale = "50"
	}
	dir := pgtest.Dir(b)
	covetctl := filepath.Join(dir, "covetctl")
	copyFile(b, os.Getenv("COVET_BIN")+"/covetctl", covetctl)
	cluster := pgtest.Start(b, pgtest.Options{Settings: map[string]string{"wal_level": "replica", "max_wal_size": "4GB"}})
	must(b, pgtest.Command(b, "pgbench", "-i", "-q", "-s", scale, cluster.DSN()))
	bytes, err := strconv.ParseInt(cluster.Value("select sum(pg_database_size(datname))::bigint from pg_database"), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	contenders := []*contender{ours(b, dir, covetctl, cluster), baseBackup(b, dir, cluster)}
	if path, err := exec.LookPath("pgbackrest"); err == nil {
		contenders = append(contenders, backrest(b, dir, path, cluster))
	} else {
		fmt.Println("# pgbackrest is not installed (apt-get install pgbackrest): left out")
	}
	for range rounds {
		for _, c := range contenders {
			c.measure(b)
		}
	}
	report(bytes, contenders)
}

func ours(b *testing.B, dir, covetctl string, cluster *pgtest.Cluster) *contender {
	c := &contender{name: "covet_zstd", into: filepath.Join(dir, "ours")}
	c.run = func() *exec.Cmd {
		cmd := pgtest.Command(b, covetctl, "backup", "run", "--repo", "file://"+c.into, "--service", "bench", "--compression", "zstd", "--wait-wal", "1ms", "--database-url", cluster.DSN())
		cmd.Env = os.Environ()
		return cmd
	}
	return c
}

func baseBackup(b *testing.B, dir string, cluster *pgtest.Cluster) *contender {
	c := &contender{name: "pg_basebackup_zstd", into: filepath.Join(dir, "base")}
	c.run = func() *exec.Cmd {
		return pgtest.Command(b, "pg_basebackup", "-d", cluster.DSN(), "-D", c.into, "-Ft", "-X", "fetch", "--compress=client-zstd:1", "-c", "fast")
	}
	return c
}

func backrest(b *testing.B, dir, path string, cluster *pgtest.Cluster) *contender {
	c := &contender{name: "pgbackrest_zst", into: filepath.Join(dir, "backrest")}
	socket := cluster.Value("select split_part(current_setting('unix_socket_directories'), ',', 1)")
	port := cluster.Value("show port")
	common := fmt.Sprintf("%s --stanza=bench --repo1-path=%s --pg1-path=%s --pg1-port=%s --pg1-socket-path=%s --log-path=%s --lock-path=%s --log-level-console=error --log-level-file=off",
		path, c.into, cluster.Dir, port, socket, dir, dir)
	// Its archive is not checked, which is work that it is spared: only ours makes sure of the WAL.
	backup := common + " --compress-type=zst --process-max=2 --start-fast --no-archive-check --type=full --repo1-retention-full=9 backup"
	c.run = func() *exec.Cmd {
		return pgtest.Command(b, "sh", "-c", common+" stanza-create && exec "+backup)
	}
	return c
}

// measure takes one backup into an empty place.
func (c *contender) measure(b *testing.B) {
	b.Helper()
	if err := os.RemoveAll(c.into); err != nil {
		b.Fatal(err)
	}
	if err := os.Mkdir(c.into, 0o700); err != nil {
		b.Fatal(err)
	}
	pgtest.Own(b, c.into)
	cmd := c.run()
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v\n%s", c.name, err, out)
	}
	c.wall = append(c.wall, time.Since(began).Seconds())
	c.cpu = append(c.cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	c.rss = max(c.rss, peak(cmd.ProcessState))
	c.size = treeSize(b, c.into)
}

func report(bytes int64, contenders []*contender) {
	first := contenders[0]
	for _, c := range contenders {
		fmt.Printf("# %-20s s=%.2f mb_s=%.0f client_cpu_s=%.2f rss_mb=%d stored_mb=%d\n", c.name, median(c.wall),
			float64(bytes)/1e6/median(c.wall), median(c.cpu), c.rss>>10, c.size/1_000_000)
	}
	line := fmt.Sprintf("bench backup_full database_mb=%d s=%.2f client_cpu_s=%.2f rss_mb=%d stored_mb=%d", bytes/1_000_000,
		median(first.wall), median(first.cpu), first.rss>>10, first.size/1_000_000)
	for _, c := range contenders[1:] {
		line += fmt.Sprintf(" ratio_%s=%.2f", c.name, median(first.wall)/median(c.wall))
	}
	fmt.Println(line)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
