package pgwire_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/covetpy/covet/internal/pgwire"
	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
)

// contents reads a source to its end: a hash by type, space and path.
func contents(t *testing.T, s backup.Source) map[string][32]byte {
	t.Helper()
	if _, err := s.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	got := map[string][32]byte{}
	for {
		e, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var data []byte
		if e.Type == backup.TypeFile {
			data = make([]byte, e.Size)
			if _, err := io.ReadFull(readerOf{s}, data); err != nil && e.Size > 0 {
				t.Fatalf("%s: %v", e.Path, err)
			}
		}
		got[strings.Join([]string{string('0' + rune(e.Type)), string('0' + rune(e.Space)), e.Path}, ":")] = sha256.Sum256(data)
	}
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	return got
}

type readerOf struct{ backup.Source }

// The files that are read locally are those that the server sends.
func TestLocalIsAsTheServerSends(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"autovacuum": "off"}})
	space := filepath.Join(pgtest.Dir(t), "space")
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, space)
	linked := func(to string) string {
		at := filepath.Join(pgtest.Dir(t), "link")
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	space = linked(space)
	inside := filepath.Join(pg.Dir, "inside") // of which the server only warns
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, inside)
	pg.Exec("CREATE TABLESPACE other LOCATION '"+space+"'", "CREATE TABLESPACE inner_one LOCATION '"+inside+"'", "CREATE TABLE c TABLESPACE inner_one AS SELECT 1 AS n",
		"CREATE TABLE a AS SELECT generate_series(1, 100000) AS n", "CREATE TABLE b TABLESPACE other AS SELECT generate_series(1, 1000) AS n",
		"CREATE UNLOGGED TABLE u AS SELECT generate_series(1, 1000) AS n", "CREATE INDEX ON u(n)", "VACUUM ANALYZE", "CHECKPOINT")
	conn := pg.Connect()
	if _, err := conn.Exec(t.Context(), "CREATE TEMPORARY TABLE temp AS SELECT generate_series(1, 1000) AS n"); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"postmaster.opts": "x", "base/pgsql_tmp/pgsql_tmp1.0": "x", "pg_stat_tmp/x": "x", "a note": "kept"} {
		full := filepath.Join(pg.Dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	wire := pgwire.NewBaseBackup(pg.DSN(), pgwire.BaseBackupOptions{})
	local, through := pgwire.NewLocal(pg.DSN(), pg.Dir, pgwire.LocalOptions{}), pgwire.NewLocal(pg.DSN(), linked(pg.Dir), pgwire.LocalOptions{})
	want, got, same := contents(t, wire), contents(t, local), contents(t, through)
	if err := errors.Join(wire.Close(), local.Close(), through.Close()); err != nil {
		t.Fatal(err)
	}
	if len(same) != len(got) {
		t.Errorf("through a symbolic link there are %d files, otherwise %d", len(same), len(got))
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		changes := strings.Contains(k, "backup_label") || strings.Contains(k, "pg_control") || strings.Contains(k, "pg_xact") || strings.Contains(k, "pg_logical")
		if g, ok := got[k]; !ok || g != want[k] && !changes {
			t.Errorf("%s: there: %v", k, ok)
		}
		delete(got, k)
	}
	for k := range got {
		t.Errorf("%s is not what the server sends", k)
	}
}

// A damaged page makes the backup fail, and names it.
func TestLocalFindsDamagedPages(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"autovacuum": "off"}}) // which would write the page again
	pg.Exec("CREATE TABLE a AS SELECT generate_series(1, 10000) AS n", "CHECKPOINT")
	file := filepath.Join(pg.Dir, pg.One("SELECT pg_relation_filepath('a')"))
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[3*8192+4000] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l := pgwire.NewLocal(pg.DSN(), pg.Dir, pgwire.LocalOptions{})
	defer func() { _ = l.Close() }()
	if _, err := l.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		if _, err = l.Next(); err == nil {
			_, err = io.Copy(io.Discard, readerOf{l})
		}
	}
	if !strings.Contains(err.Error(), "block 3 of "+file) || !strings.Contains(err.Error(), "1 pages") {
		t.Errorf("%v", err)
	}
}

// A directory that isn't the server's is refused.
func TestLocalRefusesAnotherDirectory(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	copied := filepath.Join(pgtest.Dir(t), "copy")
	control, err := os.ReadFile(filepath.Join(pg.Dir, "global/pg_control"))
	if err := errors.Join(err, os.MkdirAll(filepath.Join(copied, "global"), 0o755), os.WriteFile(filepath.Join(copied, "global/pg_control"), control, 0o644)); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(pgtest.Dir(t), "other")
	if err := errors.Join(os.MkdirAll(filepath.Join(other, "global"), 0o755), os.WriteFile(filepath.Join(other, "global/pg_control"), bytes.Repeat([]byte{1}, 8192), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{copied, other, t.TempDir()} {
		l := pgwire.NewLocal(pg.DSN(), dir, pgwire.LocalOptions{})
		if _, err := l.Start(t.Context(), nil); err == nil {
			t.Errorf("%s is accepted", dir)
		}
		_ = l.Close()
	}
}

// A standby's directory, which has the primary's identifier, is not taken for the primary's: not even by a role that isn't told where
// that lies. Where the server has no slot to give, nothing is.
func TestLocalRefusesAStandbysDirectory(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_replication_slots": "1"}})
	pg.Exec("CREATE ROLE keeper LOGIN REPLICATION", "GRANT EXECUTE ON FUNCTION pg_backup_start, pg_backup_stop TO keeper")
	standby := pgtest.Follow(t, pg, nil)
	start := func(user, dir string) error {
		l := pgwire.NewLocal(strings.Replace(pg.DSN(), "postgres@", user+"@", 1), dir, pgwire.LocalOptions{})
		_, err := l.Start(t.Context(), nil)
		return errors.Join(err, l.Close())
	}
	for _, user := range []string{"postgres", "keeper"} {
		if err := start(user, pg.Dir); err != nil {
			t.Errorf("%s, the server's own directory: %v", user, err)
		}
		pgtest.Eventually(t, "the slot has gone with its connection", func() bool { return pg.One("SELECT count(*) FROM pg_replication_slots") == "0" })
		if err := start(user, standby.Dir); err == nil || !strings.Contains(err.Error(), "another server's directory") {
			t.Errorf("%s, the standby's directory: %v", user, err)
		}
		pgtest.Eventually(t, "the slot has gone with its connection", func() bool { return pg.One("SELECT count(*) FROM pg_replication_slots") == "0" })
	}
	pg.Exec("SELECT pg_create_physical_replication_slot('taken')")
	for _, dir := range []string{pg.Dir, standby.Dir} {
		if err := start("postgres", dir); err == nil || !strings.Contains(err.Error(), "raise max_replication_slots") {
			t.Errorf("without a slot, %s: %v", dir, err)
		}
	}
}
