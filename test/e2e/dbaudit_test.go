package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/test/pg"
)

// Who restored a database from a logical backup, into what and why, is in the audit log: when it began, and how it ended.
func TestLogicalRestoreIsAudited(t *testing.T) {
	t.Parallel()
	b := newBook(t, "file")
	b.place = empty(t)
	b.where = []string{"--data-dir", b.dir}
	if a := b.say("backup", "run", "--logical", "--database-url", b.pg.DSN()); a.code != 0 {
		t.Fatal(a)
	}
	into := []string{"restore", "--logical", "--into", b.pg.DSN(), "--reason", "entries are lost"}
	if a := b.say(append(into, "--table", "marks")...); a.code != 5 {
		t.Errorf("over what is there: %v", a)
	}
	if a := b.say("audit"); a.says("entries are lost") {
		t.Errorf("what was refused is said to have begun: %v", a)
	}
	if a := b.say(append(into, "--table", "marks", "--replace", "--yes")...); a.code != 0 {
		t.Fatal(a)
	}
	a := b.say("audit", "-o", "json")
	if !a.says("marks of database postgres", "replacing what was there: entries are lost: begun", "entries are lost done") {
		t.Errorf("the audit log: %v", a)
	}
	if a := b.say("status"); a.says("restore") {
		t.Errorf("the status tells of a restore that is over: %v", a)
	}
}

// Who removed which backups is in the audit log, and in the repository, where no service can be reached.
func TestRemovalIsAudited(t *testing.T) {
	t.Parallel()
	b := newBook(t, "file")
	b.place = empty(t)
	b.where = []string{"--data-dir", b.dir}
	var ids []string
	for range 2 {
		a := b.say("backup", "run", "--logical", "--database-url", b.pg.DSN(), "-o", "json")
		var h struct{ ID string }
		if err := json.Unmarshal([]byte(a.out), &h); a.code != 0 || err != nil {
			t.Fatal(a, err)
		}
		ids = append(ids, h.ID)
	}
	if a := b.say("backup", "expire", "--keep", "1", "--plan"); a.code != 0 || !a.says("would remove") {
		t.Fatal(a)
	}
	if a := b.say("audit", "-o", "json"); a.says(ids[0]) {
		t.Errorf("a plan is in the audit log: %v", a)
	}
	if a := b.say("backup", "expire", "--keep", "1"); a.code != 0 {
		t.Fatal(a)
	}
	if a := b.say("backup", "expire", "--keep", "1"); a.code != 0 {
		t.Fatal(a)
	}
	if a := b.say("audit", "-o", "json"); strings.Count(a.out, "removed from") != 1 || !a.says("backup "+ids[0], "by --keep 1") {
		t.Errorf("the audit log: %v", a)
	}
	if a := b.say("backup", "expire", "--history", "-o", "json"); strings.Count(a.out, "removed from") != 1 || !a.says("backup "+ids[0], `"ok": true`) {
		t.Errorf("the history: %v", a)
	}
}

// WAL that waits in the spool of covetd's machine is in the status and in the metrics, also while the repository fails.
func TestSpoolIsShown(t *testing.T) {
	t.Parallel()
	book := newBook(t, "file")
	segment := filepath.Join(book.pg.Dir, "pg_wal", book.pg.One("SELECT pg_walfile_name(pg_switch_wal())"))
	spool := filepath.Join(pgtest.Dir(t), "spool")
	away := "COVET_REPO=file:///dev/null/repo"
	push := pgtest.Command(t, built.covetctl, "wal", "push", segment, "--spool", spool, "--spool-max", "100M")
	push.Env = append(book.repo, away)
	if out, err := push.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	p := empty(t, away, "COVET_SERVICE=books", "COVET_WAL_SPOOL="+spool, "COVET_WAL_SPOOL_MAX=100M")
	p.await(60*time.Second, "covetd has looked", func() bool { st := p.status(); return st.Recovery != nil && st.Recovery.Spool != nil })
	if a := p.must(0, "status"); !a.says("WAL spool: 1 files", "on this machine alone") {
		t.Errorf("the status: %v", a)
	}
	var st struct {
		Recovery struct {
			Spool struct {
				Files int
				Bytes int64
			} `json:"wal_spool"`
		}
	}
	a := p.must(0, "status", "-o", "json")
	if err := json.Unmarshal([]byte(a.out), &st); err != nil || st.Recovery.Spool.Files != 1 || st.Recovery.Spool.Bytes == 0 {
		t.Errorf("as JSON: %v %v", err, a)
	}
	text := p.metrics()
	for _, line := range []string{"covetpy_wal_spool_files 1\n", "covetpy_wal_spool_limit_bytes 1.048576e+08\n", "covetpy_wal_spool_refused_files 0\n", "covetpy_wal_spool_age_seconds "} {
		if !strings.Contains(text, line) {
			t.Errorf("the metrics lack %q: %s", line, text)
		}
	}
	// The repository refuses it for good: that is an incident, and says what to do.
	files, err := filepath.Glob(spool + "/books/*/0*")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0]+".refused", []byte("another file has its name"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.await(90*time.Second, "the refusal is seen", func() bool { return strings.Contains(p.metrics(), "covetpy_wal_spool_refused_files 1\n") })
	if a := p.must(0, "status"); !a.says("refuse") {
		t.Errorf("the status: %v", a)
	}
}

// metrics is what covetd shows to Prometheus.
func (p *place) metrics() string {
	resp, err := http.Get(p.url + "/metrics")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
