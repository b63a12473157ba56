package backupcmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	pgtest "github.com/covetpy/covet/test/pg"
)

// A server that archives with the public key alone is backed up and restored with the identity; without it every command
// says whose is needed.
func TestEncryption(t *testing.T) {
	t.Parallel()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "s3")
	key := filepath.Join(pgtest.Dir(t), "key")
	if err := os.WriteFile(key, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, key)
	b.env = append(b.env, "COVET_AGE_RECIPIENTS="+id.Recipient().String())
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks(n int)")
	dsn := pg.DSN()
	b.run("backup", "run", "--database-url", dsn)
	m := &marks{pg: pg}
	m.add(3)
	var second struct{ Previous string }
	b.runJSON(&second, "backup", "run", "--database-url", dsn, "--age-identity-file", key)
	if second.Previous == "" {
		t.Error("the second backup didn't use the first one's pages")
	}
	m.add(3)
	b.flushWAL(pg)
	for _, args := range [][]string{{"backup", "verify"}, {"restore", "--to", "/tmp/covet-nowhere", "--plan"}, {"wal", "fetch", "000000010000000000000002", "/tmp/covet-nowhere", "--system", systemOf(pg)}} {
		out, errs, code := b.try(args...)
		if code == 0 || code == 1 || !strings.Contains(errs, id.Recipient().String()) || !strings.Contains(errs, "--age-identity-file") {
			t.Errorf("%v without the identity: exit %d\n%s%s", args, code, out, errs)
		}
	}
	b.run("backup", "verify", "--age-identity-file", key)
	pg.Stop("fast")
	exactly(t, b.restored(nil, "--target-name", "mark-5", "--age-identity-file", key), 5)
}

func systemOf(pg *pgtest.Cluster) string {
	return pg.One("SELECT system_identifier FROM pg_control_system()")
}
