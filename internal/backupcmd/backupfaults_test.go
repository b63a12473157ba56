package backupcmd_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/covetpy/covet/ops/backup"
	disktest "github.com/covetpy/covet/test/disk"
	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// fill takes what a disk has left, until its file is removed.
func fill(t *testing.T, disk string) (file string) {
	t.Helper()
	file = filepath.Join(disk, "filler")
	if err := os.WriteFile(file, make([]byte, 256<<20), 0o600); err == nil {
		t.Error("the disk isn't full")
	}
	return file
}

// Backups of local files, and incremental ones, are killed, run out of disk, and meet an S3 server that fails: none of that is
// called a backup, the older ones stay good, and the next run heals.
func TestBackupFaults(t *testing.T) {
	for name, local := range map[string]bool{"local files": true, "incremental": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, pg := version(t, 17, map[string]string{"summarize_wal": "on"})
			prepare(pg)
			args := []string{"backup", "run", "--database-url", pg.DSN(), "--compression", "none"}
			if local {
				args = append(args, "--pgdata", pg.Dir)
			}
			killedBackup(t, b.on(t), pg, args)
			fullDisk(t, b.on(t), pg, args)
			flaky(t, b.on(t), pg, args)
		})
	}
}

// grow gives the next backup something to do.
func grow(pg *pgtest.Cluster) {
	pg.Exec("DROP TABLE IF EXISTS more", "CREATE TABLE more AS SELECT n, md5(n::text) t FROM generate_series(1, 300000) n", "CHECKPOINT")
}

func killedBackup(t *testing.T, b *bench, pg *pgtest.Cluster, args []string) {
	var first, second backup.Head
	b.runJSON(&first, args...)
	grow(pg)
	root := strings.TrimPrefix(b.repo, "file://")
	cmd := b.command(append(args, "--max-rate", "4000")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "the backup writes", func() bool {
		files, err := filepath.Glob(root + "/.tmp/put-*")
		for _, f := range files {
			if st, statErr := os.Stat(f); statErr == nil && st.Size() > 1<<20 {
				return true
			}
		}
		return err != nil
	})
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the backup ended before it could be killed")
	}
	var heads []backup.Head
	if b.runJSON(&heads, "backup", "list"); len(heads) != 1 || heads[0].ID != first.ID {
		t.Errorf("after one was killed there are %+v", heads)
	}
	pgtest.Eventually(t, "the server has no backup under way", func() bool {
		return pg.One("SELECT count(*) FROM pg_stat_activity WHERE wait_event LIKE 'BaseBackup%' OR query LIKE '%pg_backup_start%' AND pid <> pg_backend_pid()") == "0"
	})
	b.runJSON(&second, args...)
	if second.Previous != first.ID {
		t.Errorf("the next backup builds on %q", second.Previous)
	}
	holds(t, b, pg, second)
}

// holds checks that a backup restores to what the server has.
func holds(t *testing.T, b *bench, pg *pgtest.Cluster, h backup.Head) {
	t.Helper()
	b.run("backup", "verify")
	there := filepath.Join(pgtest.Dir(t), "there")
	got := b.restored(nil, "--backup", h.ID, "--immediate", "--tablespace", spaceOf(pg)+"="+there)
	sum := "SELECT md5(string_agg(n || t, ',' ORDER BY n)) FROM more"
	if got.One(content) != pg.One(content) || got.One(sum) != pg.One(sum) {
		t.Errorf("backup %s doesn't hold what the server has", h.ID)
	}
	got.Stop("immediate")
}

func fullDisk(t *testing.T, b *bench, pg *pgtest.Cluster, args []string) {
	disk := disktest.Small(t, "256m")
	b.repo = "file://" + disk + "/repo"
	b.env = append(append([]string{}, b.env...), "COVET_REPO="+b.repo)
	var first, second backup.Head
	b.runJSON(&first, append(args, "--wait-wal", "0s")...) // the server archives elsewhere
	filler := fill(t, disk)
	grow(pg)
	_, errs, code := b.try(append(args, "--wait-wal", "0s")...)
	if code != 5 || !strings.Contains(errs, "no space left") {
		t.Errorf("with a full disk: exit %d, %s", code, errs)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	var heads []backup.Head
	if b.runJSON(&heads, "backup", "list"); len(heads) != 1 {
		t.Errorf("after a full disk there are %d backups", len(heads))
	}
	b.runJSON(&second, append(args, "--wait-wal", "0s")...)
	holds(t, b, pg, second)
}

func flaky(t *testing.T, b *bench, pg *pgtest.Cluster, args []string) {
	srv := s3test.Start(t)
	kinds := []s3test.Fault{s3test.Fail500, s3test.Fail503, s3test.Reset, s3test.Lose, s3test.Truncate, s3test.Slow}
	proxy := s3test.StartProxy(t, srv, func(n int64, _ *http.Request) s3test.Fault {
		if n%5 == 2 {
			return kinds[int(n/5)%len(kinds)]
		}
		return s3test.Pass
	})
	b.repo = "s3://" + srv.Bucket(t)
	b.env = append(append([]string{}, b.env...), "COVET_REPO="+b.repo, "COVET_S3_ENDPOINT="+proxy.Endpoint, "S3_REGION=us-east-1")
	var first, second backup.Head
	b.runJSON(&first, append(args, "--wait-wal", "0s")...)
	grow(pg)
	b.runJSON(&second, append(args, "--wait-wal", "0s")...)
	if second.Previous != first.ID || proxy.Faults() < 5 {
		t.Errorf("previous %q, %d faults", second.Previous, proxy.Faults())
	}
	holds(t, b, pg, second)
}
