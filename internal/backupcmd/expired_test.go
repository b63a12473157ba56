package backupcmd_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// keyring is an S3 server that takes one of two accounts at a time, and the files with the credentials.
type keyring struct {
	t     *testing.T
	dir   string
	valid atomic.Value
	// after is how many requests pass until what it calls is done.
	after atomic.Int64
	then  func()
}

// newKeyring makes a bench whose credentials are in files.
func newKeyring(t *testing.T) (*bench, *keyring) {
	t.Helper()
	b, srv := newBench(t, "file"), s3test.StartAccounts(t, "one", "two")
	dir := pgtest.Dir(t)
	k := &keyring{t: t, dir: dir}
	k.valid.Store("")
	k.after.Store(1 << 40)
	proxy := s3test.StartProxy(t, srv, func(_ int64, r *http.Request) s3test.Fault {
		if k.after.Add(-1) == 0 {
			k.then()
		}
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+k.valid.Load().(string)+"/") {
			return s3test.Expired
		}
		return s3test.Pass
	})
	b.repo = "s3://" + srv.Bucket(t) + "/prod"
	b.env = append(b.env, "COVET_REPO="+b.repo, "COVET_S3_ENDPOINT="+proxy.Endpoint, "S3_REGION=us-east-1", "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=",
		"AWS_ACCESS_KEY_ID_FILE="+dir+"/id", "AWS_SECRET_ACCESS_KEY_FILE="+dir+"/secret")
	return b, k
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text+"\n"), 0o644); err != nil {
		t.Error(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Error(err)
	}
}

// renew makes an account valid, and the other one expired; have puts its credentials where the programs find them.
func (k *keyring) renew(account string) { k.valid.Store(account) }
func (k *keyring) have(account string) {
	write(k.t, filepath.Join(k.dir, "secret"), s3test.SecretOf(account))
	write(k.t, filepath.Join(k.dir, "id"), account)
}

// in has something happen after some more requests.
func (k *keyring) in(requests int64, then func()) {
	k.then = then
	k.after.Store(requests)
}

// Credentials that expire halfway fail a backup with words that say so, and leave nothing that is called a backup; once they
// are renewed the next run heals. Where they are renewed in time, what runs goes on with them.
func TestCredentialsExpire(t *testing.T) {
	t.Parallel()
	b, k := newKeyring(t)
	k.renew("one")
	k.have("one")
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler AS SELECT n, md5(n::text) FROM generate_series(1, 300000) n")
	m := &marks{pg: pg}
	m.add(1)
	for i, args := range [][]string{{"backup", "run", "--compression", "none"}, {"backup", "run", "--logical", "--compression", "none"}} {
		k.in(4, func() { k.renew("two") })
		_, errs, code := b.try(append(args, "--database-url", pg.DSN())...)
		if code != 5 || !strings.Contains(errs, "expired") {
			t.Errorf("%v: exit %d, %s", args, code, errs)
		}
		k.have("two")
		if out := b.run("backup", "list", "-o", "json"); strings.Contains(out, `"id"`) && i == 0 {
			t.Errorf("after a failed backup: %s", out)
		}
		k.in(4, func() { k.have("one"); k.renew("one") })
		var h backup.Head
		b.runJSON(&h, append(args, "--database-url", pg.DSN())...)
		b.run("backup", "verify", h.ID)
	}
	// PostgreSQL's archive_command fails, loudly, and goes on by itself.
	k.renew("two")
	m.add(2)
	pg.Exec("SELECT pg_switch_wal()")
	pgtest.Eventually(t, "archiving fails", func() bool { return pg.One("SELECT failed_count FROM pg_stat_archiver") != "0" })
	pgtest.Eventually(t, "the server's log says why", func() bool { return strings.Contains(pg.Log(), "expired") })
	k.have("two")
	m.add(2)
	b.flushWAL(pg)
	if out := b.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		t.Error(out)
	}
	exactly(t, b.restored(nil), len(m.all))
	k.in(1, func() {})
	for _, c := range []struct{ env, says string }{
		{"AWS_SECRET_ACCESS_KEY_FILE=/nowhere", "AWS_SECRET_ACCESS_KEY_FILE: open /nowhere"}, {"AWS_SECRET_ACCESS_KEY_FILE=", "go together"},
	} {
		bad := *b
		bad.env = append(append([]string{}, b.env...), c.env)
		if _, errs, code := bad.try("backup", "list"); code != 2 || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit %d, %s", c.env, code, errs)
		}
	}
}
