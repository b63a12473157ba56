package backupcmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
)

// seed fills database shop with a little of everything.
var seed = []string{
	"CREATE SCHEMA app", "CREATE TYPE app.mood AS ENUM ('good', 'bad')",
	"CREATE TABLE app.customers (id serial PRIMARY KEY, name text UNIQUE, mood app.mood)",
	"CREATE TABLE app.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES app.customers, note text)",
	"CREATE INDEX orders_note ON app.orders (note)", "CREATE VIEW app.latest AS SELECT max(id) FROM app.orders",
	"CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
	"CREATE TRIGGER touch BEFORE INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.touch()",
	"CREATE TABLE app.parts (id int, k int) PARTITION BY RANGE (id)", "CREATE TABLE app.parts1 PARTITION OF app.parts FOR VALUES FROM (0) TO (100)",
	"CREATE INDEX ON app.parts (k)", "INSERT INTO app.parts SELECT n % 100, n FROM generate_series(1, 500) n",
	"INSERT INTO app.customers (name, mood) SELECT 'c' || n, 'good' FROM generate_series(1, 500) n",
	"INSERT INTO app.orders (customer, note) SELECT 1 + n % 500, md5(n::text) FROM generate_series(1, 50000) n",
	`CREATE TABLE public."Odd name.x" AS SELECT n FROM generate_series(1, 5) n`, "GRANT SELECT ON app.orders TO reader",
	"SELECT lo_from_bytea(77, 'large')",
}

// in opens a database of a cluster.
func in(t *testing.T, pg *pgtest.Cluster, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn(pg, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func dsn(pg *pgtest.Cluster, database string) string {
	return strings.Replace(pg.DSN(), "/postgres?", "/"+database+"?", 1)
}

// ask returns one value as text.
func ask(t *testing.T, pg *pgtest.Cluster, database, query string) string {
	t.Helper()
	conn := in(t, pg, database)
	defer func() { _ = conn.Close(t.Context()) }()
	var got *string
	if err := conn.QueryRow(t.Context(), "SELECT ("+query+")::text").Scan(&got); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if got == nil {
		return ""
	}
	return *got
}

func do(t *testing.T, pg *pgtest.Cluster, database string, statements ...string) {
	t.Helper()
	conn := in(t, pg, database)
	defer func() { _ = conn.Close(t.Context()) }()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// shopServer is a server with database shop.
func shopServer(t *testing.T, bin string) *pgtest.Cluster {
	t.Helper()
	pg := pgtest.Start(t, pgtest.Options{Bin: bin})
	pg.Exec("CREATE DATABASE shop", "CREATE ROLE reader")
	do(t, pg, "shop", seed...)
	return pg
}

// sums tells the content of a database: a hash of each table's rows, the sequences and the large objects.
func sums(t *testing.T, pg *pgtest.Cluster, database string) string {
	t.Helper()
	return ask(t, pg, database, `SELECT concat_ws(' ', (SELECT md5(string_agg(c::text, '' ORDER BY id)) FROM app.customers c),
		(SELECT md5(string_agg(o::text, '' ORDER BY id)) FROM app.orders o), (SELECT md5(string_agg(p::text, '' ORDER BY k)) FROM app.parts p),
		(SELECT sum(n) FROM public."Odd name.x"), (SELECT last_value FROM app.customers_id_seq), (SELECT last_value FROM app.orders_id_seq),
		(SELECT count(*) FROM pg_indexes WHERE schemaname = 'app'), (SELECT count(*) FROM pg_constraint WHERE connamespace = 'app'::regnamespace),
		(SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal), has_table_privilege('reader', 'app.orders', 'SELECT'), lo_get(77))`)
}

func TestLogical(t *testing.T) {
	for _, kind := range []string{"file", "s3"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			logical(t, kind)
		})
	}
}

func logical(t *testing.T, kind string) {
	b, pg := newBench(t, kind), shopServer(t, "")
	want := sums(t, pg, "shop")
	server := []string{"--database-url", pg.DSN()}
	var all, one backup.Head
	b.runJSON(&all, append(server, "backup", "run", "--logical", "--all-databases")...)
	b.runJSON(&one, append(server, "backup", "run", "--logical", "--database", "shop", "--table", "app.customers")...)
	if l := all.Logical; l == nil || len(l.Databases) != 2 || l.Databases[1].Name != "shop" || l.Databases[1].Tables != 4 || !l.Globals {
		t.Errorf("head: %+v %+v", all, all.Logical)
	}
	b.run("backup", "verify")
	b.dumpIsNoBase(t, all.ID)
	to := func(args ...string) []string {
		return append([]string{"restore", "--logical", "--database", "shop", "--into", pg.DSN()}, args...)
	}
	// All of it, into new databases: from the stream, and by several from a file.
	b.run(to("--to-database", "whole")...)
	b.run(to("--to-database", "quick", "--jobs", "3")...)
	for _, database := range []string{"whole", "quick"} {
		if got := sums(t, pg, database); got != want {
			t.Errorf("%s has %s, want %s", database, got, want)
		}
	}
	b.dumpTables(t, pg, to)
	b.dumpRefusals(t, pg, to)
	b.dumpEverything(t, all.ID, want)
	var done []backup.Attempt
	if b.runJSON(&done, "restore", "--logical", "--history"); len(done) < 4 || !strings.Contains(done[0].Says, "/whole from backup "+all.ID+": everything of database shop") {
		t.Errorf("history: %+v", done)
	}
	b.dumpExpiry(t, server, all.ID, one.ID)
}

// dumpEverything restores all databases at once on another server, with the roles; and once where one of them fails.
func (b *bench) dumpEverything(t *testing.T, id, want string) {
	t.Helper()
	other := pgtest.Start(t, pgtest.Options{Bin: b.pgBin})
	args := []string{"restore", "--logical", "--all-databases", "--backup", id, "--into", other.DSN()}
	if _, errs, code := b.try(append(args, "--database", "shop")...); code != 2 || !strings.Contains(errs, "leave --database") {
		t.Errorf("all of one: exit %d, %s", code, errs)
	}
	if out := b.run(append(args, "--plan")...); !strings.Contains(out, "/postgres") || !strings.Contains(out, "/shop, which is made") {
		t.Errorf("the plan: %s", out)
	}
	other.Exec("CREATE DATABASE shop")
	do(t, other, "shop", "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not here'; END$$",
		"CREATE EVENT TRIGGER no ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION no()")
	_, errs, code := b.try(append(args, "--globals")...)
	if code != 8 || !strings.Contains(errs, "database shop: ") || !strings.Contains(errs, "not here") || !strings.Contains(errs, "roles and tablespaces that --globals made stay") {
		t.Errorf("one that fails: exit %d, %s", code, errs)
	}
	if n := ask(t, other, "shop", "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text = 'app'"); n != "0" {
		t.Errorf("%s relations are left", n)
	}
	other.Exec("DROP DATABASE shop")
	var done []struct {
		Database string
		Done     bool
	}
	if b.runJSON(&done, append(args, "--globals")...); len(done) != 2 || !done[0].Done || done[1].Database != "shop" || !done[1].Done {
		t.Errorf("done: %+v", done)
	}
	if got := sums(t, other, "shop"); got != want {
		t.Errorf("it has %s, want %s", got, want)
	}
	other.Stop("immediate")
}

// dumpIsNoBase checks that nothing takes a dump for a base backup.
func (b *bench) dumpIsNoBase(t *testing.T, id string) {
	t.Helper()
	dir := dataDir(t)
	for _, args := range [][]string{{"restore", "--to", dir}, {"restore", "--to", dir, "--backup", id}} {
		if _, errs, code := b.try(args...); code != 5 || !strings.Contains(errs, "no backup") {
			t.Errorf("%v: exit %d, %s", args, code, errs)
		}
	}
	absent(t, dir)
	if out := b.run("backup", "list"); strings.Count(out, "logical") != 2 {
		t.Errorf("list: %s", out)
	}
	if out := b.run("backup", "show", id); !strings.Contains(out, "logical") || !strings.Contains(out, "shop (4 tables") {
		t.Errorf("show: %s", out)
	}
}

// dumpTables restores single tables.
func (b *bench) dumpTables(t *testing.T, pg *pgtest.Cluster, to func(...string) []string) {
	t.Helper()
	if out := b.run("restore", "--logical", "--database", "shop", "--list"); !strings.Contains(out, "Odd name.x") || !strings.Contains(out, "parts1") {
		t.Errorf("--list: %s", out)
	}
	// A table into a database without anything: its schema, trigger and indexes come along, its foreign key can't.
	out := b.run(to("--to-database", "one", "--table", "orders")...)
	if got := ask(t, pg, "one", "SELECT count(*) FROM app.orders"); got != "50000" || !strings.Contains(out, "orders_customer_fkey") {
		t.Errorf("%s rows; %s", got, out)
	}
	if got := ask(t, pg, "one", "SELECT nextval('app.orders_id_seq')"); got != "50001" {
		t.Errorf("the sequence goes on with %s", got)
	}
	// A partitioned one, and one with an odd name, beside it.
	b.run(to("--to-database", "one", "--table", "app.parts", "--table", "public.Odd name.x")...)
	if got := ask(t, pg, "one", `SELECT (SELECT count(*) FROM app.parts) || ' ' || (SELECT count(*) FROM "Odd name.x")`); got != "500 5" {
		t.Errorf("rows: %s", got)
	}
	// In the place of one that has been changed: refused, then confirmed.
	do(t, pg, "one", "UPDATE app.orders SET note = NULL")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 5, "already TABLE app.orders"}, {[]string{"--replace"}, 2, "--confirm one"}, {[]string{"--replace", "--confirm", "shop"}, 2, "one"},
		{[]string{"--replace", "--yes", "--plan"}, 0, ""},
	} {
		if _, errs, code := b.try(to(append([]string{"--to-database", "one", "--table", "orders"}, c.args...)...)...); code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%v: exit %d, want %d and %q: %s", c.args, code, c.code, c.says, errs)
		}
	}
	if got := ask(t, pg, "one", "SELECT count(note) FROM app.orders"); got != "0" {
		t.Errorf("what was refused changed %s rows", got)
	}
	b.run(to("--to-database", "one", "--table", "orders", "--replace", "--confirm", "one")...)
	if got := ask(t, pg, "one", "SELECT count(note) FROM app.orders"); got != "50000" {
		t.Errorf("after replacing %s rows have a note", got)
	}
}

// dumpRefusals asks for what can't be.
func (b *bench) dumpRefusals(t *testing.T, pg *pgtest.Cluster, to func(...string) []string) {
	t.Helper()
	do(t, pg, "one", "CREATE VIEW app.mine AS SELECT * FROM app.orders")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{to("--table", "nobody", "--to-database", "x"), 2, "no table nobody"}, {to("--schema", "nobody", "--to-database", "x"), 2, "no schema nobody"},
		{[]string{"restore", "--logical", "--list"}, 2, "postgres, shop"}, {[]string{"restore", "--logical", "--database", "no", "--list"}, 5, "of database no"},
		{[]string{"restore", "--logical", "--database", "shop"}, 2, "--into"}, {to("--target-time", "now"), 2, "--target-time"},
		{[]string{"restore", "--to", "/x", "--table", "a"}, 2, "--logical"}, {to("--jobs", "0"), 2, "--jobs"},
		{to("--to-database", "one", "--table", "orders", "--replace", "--yes"), 5, "other objects depend on it"},
		{to("--backup", "unknown"), 5, "no logical backup unknown"},
		{[]string{"backup", "run", "--logical", "--full"}, 2, "--full"}, {[]string{"backup", "run", "--table", "a"}, 2, "--logical"},
		{[]string{"backup", "run", "--logical", "--database", "nobody", "--database-url", pg.DSN()}, 2, "shop"},
		{[]string{"backup", "run", "--logical", "--table", "nobody", "--database-url", pg.DSN()}, 5, "no matching tables"},
		{[]string{"backup", "verify", "unknown"}, 5, "no backup unknown"},
	} {
		if _, errs, code := b.try(c.args...); code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%v: exit %d, want %d and %q: %s", c.args, code, c.code, c.says, errs)
		}
	}
	if got := ask(t, pg, "one", "SELECT count(*) FROM app.mine WHERE note IS NOT NULL"); got != "50000" {
		t.Errorf("after a refused replacement there are %s rows", got)
	}
	if got := ask(t, pg, "postgres", "SELECT count(*) FROM pg_database WHERE datname = 'x'"); got != "0" {
		t.Error("a refused restore left its database")
	}
}

// dumpExpiry checks that retention counts logical backups apart, by what is in them.
func (b *bench) dumpExpiry(t *testing.T, server []string, all, one string) {
	t.Helper()
	var again backup.Head
	b.runJSON(&again, append(server, "backup", "run", "--logical", "--all-databases")...)
	var e backup.Expiry
	b.runJSON(&e, "backup", "expire", "--keep", "1")
	var heads []backup.Head
	b.runJSON(&heads, "backup", "list")
	var left []string
	for _, h := range heads {
		left = append(left, h.ID)
	}
	if len(left) != 2 || left[0] != one || left[1] != again.ID || len(e.Packs) != 1 || !strings.HasPrefix(e.Packs[0], all) {
		t.Errorf("left %v of %s, %s and %s; removed %v", left, all, one, again.ID, e.Packs)
	}
	b.run("backup", "verify")
}

// logicalFiles lists what is stored of logical backups.
func logicalFiles(t *testing.T, b *bench) (packs, manifests []string) {
	t.Helper()
	root := strings.TrimPrefix(b.repo, "file://") + "/orders/*/logical/"
	packs, err1 := filepath.Glob(root + "packs/*")
	manifests, err2 := filepath.Glob(root + "backups/*/manifest")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return packs, manifests
}

// A dump that is killed or interrupted is no backup; interrupted, it leaves nothing; damaged, it is found out and nothing is
// restored of it. In an encrypted repository.
func TestLogicalFaults(t *testing.T) {
	t.Parallel()
	b, pg := newBench(t, "file"), shopServer(t, "")
	b.env = append(b.env, "COVET_AGE_IDENTITY_FILE="+ageKey(t))
	do(t, pg, "shop", "CREATE TABLE bulk AS SELECT n, md5(n::text) || md5((n + 1)::text) t FROM generate_series(1, 1500000) n")
	var good backup.Head
	b.runJSON(&good, "backup", "run", "--logical", "--database-url", dsn(pg, "shop"), "--table", "app.*", "--table", `public."Odd name.x"`)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		b.cutDump(t, pg, sig)
		_, manifests := logicalFiles(t, b)
		if len(manifests) != 1 {
			t.Errorf("after %v there are %d backups", sig, len(manifests))
		}
		pgtest.Eventually(t, "pg_dump has gone too", func() bool {
			return ask(t, pg, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('pg_dump', 'covetctl')") == "0"
		})
	}
	if packs, _ := logicalFiles(t, b); len(packs) > 2 { // that of the good one, and at most what the killed one finished
		t.Errorf("packs: %v", packs)
	}
	b.run("backup", "verify")
	flipBits(t, strings.TrimPrefix(b.repo, "file://")+"/orders/*/logical/packs/"+good.ID+"-0001")
	if _, errs, code := b.try("backup", "verify"); code != 5 || !strings.Contains(errs, good.ID+" is damaged") {
		t.Errorf("verify: exit %d, %s", code, errs)
	}
	_, errs, code := b.try("restore", "--logical", "--backup", good.ID, "--into", pg.DSN(), "--to-database", "bad")
	if code != 5 || !strings.Contains(errs, "damaged") {
		t.Errorf("restore of a damaged dump: exit %d, %s", code, errs)
	}
	if got := ask(t, pg, "postgres", "SELECT count(*) FROM pg_database WHERE datname = 'bad'"); got != "0" {
		t.Error("a restore that failed left its database")
	}
}

// cutDump ends a dump in its midst.
func (b *bench) cutDump(t *testing.T, pg *pgtest.Cluster, sig syscall.Signal) {
	t.Helper()
	for range 5 { // a quick one may end before
		cmd := b.command("backup", "run", "--logical", "--database-url", dsn(pg, "shop"), "--table", "bulk", "--compression", "none")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pgtest.Eventually(t, "the dump writes", func() bool {
			files, err := filepath.Glob(strings.TrimPrefix(b.repo, "file://") + "/.tmp/put-*")
			for _, f := range files {
				if st, statErr := os.Stat(f); statErr == nil && st.Size() > 1<<20 {
					return true
				}
			}
			return err != nil
		})
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			return
		}
		t.Log("it had ended before")
	}
	t.Fatal("no dump could be cut")
}

// ageKey makes a file with a new age key.
func ageKey(t *testing.T) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(pgtest.Dir(t), "key")
	if err := os.WriteFile(key, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, key)
	return key
}

// A server of another version is dumped by a pg_dump that can, or by none.
func TestLogicalVersions(t *testing.T) {
	t.Parallel()
	client := clientMajor(t)
	for _, major := range pgtest.Majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			b, pg := newBench(t, "file"), shopServer(t, pgtest.BinOf(t, major))
			out, errs, code := b.try("backup", "run", "--logical", "--database-url", dsn(pg, "shop"), "-o", "json")
			if major > client {
				if code != 5 || !strings.Contains(errs, fmt.Sprintf("install postgresql-client-%d", major)) {
					t.Errorf("pg_dump %d and a server %d: exit %d, %s", client, major, code, errs)
				}
				return
			}
			var h backup.Head
			if err := json.Unmarshal([]byte(out), &h); err != nil || code != 0 || h.PGVersion/10000 != major {
				t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
			}
			b.run("restore", "--logical", "--into", pg.DSN(), "--to-database", "again")
			if got, want := sums(t, pg, "again"), sums(t, pg, "shop"); got != want {
				t.Errorf("restored %s, want %s", got, want)
			}
		})
	}
	b, pg := newBench(t, "file"), shopServer(t, "")
	if _, errs, code := b.try("backup", "run", "--logical", "--database-url", pg.DSN(), "--pg-bin", "/nowhere"); code != 2 || !strings.Contains(errs, "no pg_dump in /nowhere") {
		t.Errorf("no pg_dump: exit %d, %s", code, errs)
	}
}

// clientMajor is the newest installed pg_dump's version.
func clientMajor(t *testing.T) int {
	t.Helper()
	out, err := exec.Command(filepath.Join(pgtest.Bin(t), "pg_dump"), "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	var major int
	if _, err := fmt.Sscanf(string(out), "pg_dump (PostgreSQL) %d", &major); err != nil {
		t.Fatal(err)
	}
	return major
}
