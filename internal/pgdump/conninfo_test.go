package pgdump

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// No password is on a command line, and every address leads to the database that is asked for.
func TestConninfo(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://me:se%20cret@db.example.com:5433/shop?sslmode=disable&pool_max_conns=4&options=-c%20jit%3Doff",
		"postgresql://me@db.example.com:5433/shop?password=se%20cret&sslmode=disable",
		"host=db.example.com port=5433 user=me password='se cret' dbname=shop sslmode=disable",
		`host = db.example.com port=5433  password=se\ cret user=me dbname='shop' sslmode=disable default_query_exec_mode=exec`,
	} {
		c, err := ParseConninfo(dsn)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		to := c.To("O'Neil's/db")
		got, err := pgx.ParseConfig(to)
		if err != nil || strings.Contains(to, "cret") || strings.Contains(to, "pool") || strings.Contains(to, "exec_mode") {
			t.Errorf("%s: %s, %v", dsn, to, err)
			continue
		}
		if got.Host != "db.example.com" || got.Port != 5433 || got.User != "me" || got.Database != "O'Neil's/db" || c.password != "se cret" || strings.Contains(to, "+") {
			t.Errorf("%s: %s leads to %s:%d, %s as %s", dsn, to, got.Host, got.Port, got.Database, got.User)
		}
	}
}

func TestChooseTools(t *testing.T) {
	t.Parallel()
	found := []Tools{{"a", 180001}, {"b", 170004}, {"c", 170002}, {"d", 150018}}
	for _, c := range []struct {
		wanted, least int
		dir           string
	}{{17, 0, "b"}, {16, 0, "b"}, {15, 0, "d"}, {15, 18, "a"}, {14, 0, "d"}, {18, 0, "a"}, {19, 0, ""}} {
		got, err := Choose(found, c.wanted, c.least)
		if got.Dir != c.dir || (err == nil) != (c.dir != "") {
			t.Errorf("for %d, at least %d: %+v %v", c.wanted, c.least, got, err)
		}
	}
	if _, err := Choose(nil, 17, 0); err == nil || !strings.Contains(err.Error(), "install postgresql-client-17") {
		t.Errorf("without any: %v", err)
	}
}
