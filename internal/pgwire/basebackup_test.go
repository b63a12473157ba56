package pgwire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/internal/pgwire"
	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
)

// A base backup yields the files of the data directory and of the tablespaces, and none of unlogged tables.
func TestBaseBackupYieldsTheFiles(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	space := filepath.Join(pgtest.Dir(t), "space")
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, space)
	pg.Exec(
		"CREATE TABLESPACE other LOCATION '"+space+"'",
		"CREATE TABLE a AS SELECT generate_series(1, 100000) AS n",
		"CREATE TABLE b TABLESPACE other AS SELECT generate_series(1, 1000) AS n",
		"CREATE UNLOGGED TABLE u AS SELECT generate_series(1, 1000) AS n", "CHECKPOINT")
	b := pgwire.NewBaseBackup(pg.DSN(), pgwire.BaseBackupOptions{Label: "it's a test"})
	start, err := b.Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(start.System) != pg.One("SELECT system_identifier FROM pg_control_system()") || !start.Checksums || start.SegmentSize != 16<<20 || start.Total < 1<<20 {
		t.Errorf("start: %+v", start)
	}
	got := map[string][]byte{}
	for {
		f, err := b.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(b)
		if err != nil || int64(len(data)) != f.Size {
			t.Fatalf("%s: %d bytes instead of %d: %v", f.Path, len(data), f.Size, err)
		}
		got[fmt.Sprintf("%d:%s", f.Space, f.Path)] = data
	}
	stop, err := b.Stop()
	if err != nil || stop.LSN <= start.LSN || stop.Timeline != 1 || stop.Time.Before(start.Time) {
		t.Fatalf("stop: %+v %v", stop, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	table := pg.One("SELECT pg_relation_filepath('a')")
	want, err := os.ReadFile(filepath.Join(pg.Dir, table))
	if err != nil || !bytes.Equal(got["0:"+table], want) {
		t.Errorf("%s: %d bytes, on disk %d: %v", table, len(got["0:"+table]), len(want), err)
	}
	inSpace := strings.SplitN(pg.One("SELECT pg_relation_filepath('b')"), "/", 3)[2]
	if len(got["1:"+inSpace]) == 0 {
		t.Errorf("%s of the tablespace is missing", inSpace)
	}
	if _, ok := got["0:"+pg.One("SELECT pg_relation_filepath('u')")]; ok {
		t.Error("an unlogged table is in the backup")
	}
	for _, name := range []string{"0:backup_label", "0:global/pg_control", "0:PG_VERSION"} {
		if len(got[name]) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	if label := string(got["0:backup_label"]); !strings.Contains(label, "LABEL: it's a test") {
		t.Errorf("the label: %s", label)
	}
}

// Damaged pages make the backup fail, with a warning that names them.
func TestBaseBackupFindsDamagedPages(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	pg.Exec("CREATE TABLE a AS SELECT generate_series(1, 10000) AS n", "CHECKPOINT")
	file := filepath.Join(pg.Dir, pg.One("SELECT pg_relation_filepath('a')"))
	pg.Stop("fast")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[8192+4000] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	pg.Run()
	var notices []string
	b := pgwire.NewBaseBackup(pg.DSN(), pgwire.BaseBackupOptions{Notice: func(e *pgconn.PgError) { notices = append(notices, e.Message) }})
	if _, err := b.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	for {
		if _, err := b.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Stop(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("stop: %v", err)
	}
	if all := strings.Join(notices, "\n"); !strings.Contains(all, "checksum verification failed") {
		t.Errorf("notices: %s", all)
	}
}

func TestBaseBackupEndsWithItsContext(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	b := pgwire.NewBaseBackup(pg.DSN(), pgwire.BaseBackupOptions{MaxRate: 64})
	if _, err := b.Start(ctx, nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	cancel()
	for {
		if _, err := b.Next(); err != nil {
			if errors.Is(err, io.EOF) {
				t.Error("a cancelled backup came to its end")
			}
			return
		}
	}
}

// The log comes from the server byte for byte as it is in its files.
func TestWALSegments(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	w, err := pgwire.OpenWAL(t.Context(), pg.DSN(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	srv, err := pgwire.Identify(t.Context(), pg.DSN())
	if err != nil {
		t.Fatal(err)
	}
	first := backup.SegmentAt(srv.Timeline, srv.At, srv.SegmentSize)
	pg.Exec("CREATE TABLE a AS SELECT generate_series(1, 200000) AS n", "SELECT pg_switch_wal()", "INSERT INTO a VALUES (1)", "SELECT pg_switch_wal()")
	last := first
	last.No++
	n := 0
	err = w.Segments(t.Context(), first, last, func(name string, data []byte) error {
		n++
		want, err := os.ReadFile(filepath.Join(pg.Dir, "pg_wal", name))
		if err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s differs from the server's file: %v", name, err)
		}
		_, err = backup.CheckSegment(name, data)
		return err
	})
	if err != nil || n != 2 {
		t.Errorf("%d segments, %v", n, err)
	}
}

func TestIdentifyExplains(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	pg.Exec("CREATE ROLE plain LOGIN")
	_, err := pgwire.Identify(t.Context(), strings.Replace(pg.DSN(), "postgres@", "plain@", 1))
	if err == nil || !strings.Contains(err.Error(), "ALTER ROLE") {
		t.Errorf("a role without REPLICATION: %v", err)
	}
	if _, err := pgwire.Identify(t.Context(), "postgres://postgres@127.0.0.1:1/x?sslmode=disable"); err == nil {
		t.Error("nobody listens, and that is fine?")
	}
}

// A server that dies halfway is an error, never the end of the files.
func TestBaseBackupNoticesADeadServer(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	b := pgwire.NewBaseBackup(pg.DSN(), pgwire.BaseBackupOptions{MaxRate: 2000})
	if _, err := b.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	for n := 0; ; n++ {
		if n == 20 {
			pg.Stop("immediate")
		}
		_, err := b.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, b)
		}
		if errors.Is(err, io.EOF) {
			t.Fatal("the backup came to its end")
		}
		if err != nil {
			return
		}
	}
}
