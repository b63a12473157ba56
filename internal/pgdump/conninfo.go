package pgdump

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Conninfo is where a server is, as PostgreSQL's programs are told: what is secret in it goes into their environment.
type Conninfo struct {
	dsn      string // without a password
	password string
}

// notOurs are settings of this program's own library, which PostgreSQL's programs don't know.
func notOurs(name string) bool {
	return strings.HasPrefix(name, "pool_") || strings.HasSuffix(name, "_cache_capacity") || name == "default_query_exec_mode" ||
		name == "statement_cache_mode"
}

// ParseConninfo reads a URL, or names and values.
func ParseConninfo(dsn string) (Conninfo, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return Conninfo{}, err
	}
	c := Conninfo{password: cfg.Password}
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		u, err := url.Parse(dsn)
		if err != nil {
			return c, fmt.Errorf("the database's address: %w", err)
		}
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		q := u.Query()
		for name := range q {
			if name == "password" || notOurs(name) {
				q.Del(name)
			}
		}
		u.RawQuery = encode(q)
		c.dsn = u.String()
		return c, nil
	}
	var words []string
	for _, w := range settings(dsn) {
		if name, _, _ := strings.Cut(w, "="); name != "password" && !notOurs(strings.TrimSpace(name)) {
			words = append(words, w)
		}
	}
	c.dsn = strings.Join(words, " ")
	return c, nil
}

// encode writes a space as libpq reads it: a plus is a plus to it.
func encode(q url.Values) string { return strings.ReplaceAll(q.Encode(), "+", "%20") }

// settings divides name=value pairs at the spaces between them, which may be around the = and in quoted values.
func settings(dsn string) []string {
	var out []string
	rest := strings.TrimSpace(dsn)
	for rest != "" {
		eq := strings.IndexByte(rest, '=')
		if eq < 0 {
			return append(out, rest)
		}
		name, value := strings.TrimSpace(rest[:eq]), strings.TrimLeft(rest[eq+1:], " \t\n")
		end, quoted := 0, strings.HasPrefix(value, "'")
		for end < len(value) {
			if value[end] == '\\' {
				end++
			} else if quoted && end > 0 && value[end] == '\'' {
				end++
				break
			} else if !quoted && strings.IndexByte(" \t\n", value[end]) >= 0 {
				break
			}
			end++
		}
		end = min(end, len(value))
		out = append(out, name+"="+value[:end])
		rest = strings.TrimSpace(value[end:])
	}
	return out
}

// To is the address of another database of the same server.
func (c Conninfo) To(database string) string {
	if strings.HasPrefix(c.dsn, "postgres://") || strings.HasPrefix(c.dsn, "postgresql://") {
		u, err := url.Parse(c.dsn)
		if err != nil { // it was parsed before
			return c.dsn
		}
		u.Path, u.RawPath = "/"+database, "/"+url.PathEscape(database)
		q := u.Query()
		q.Del("dbname")
		q.Del("database")
		u.RawQuery = encode(q)
		return u.String()
	}
	return strings.TrimSpace(c.dsn + " dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'")
}

// environ is the environment of PostgreSQL's programs: their words in plain English, and the password.
func (c Conninfo) environ() []string {
	env := append(os.Environ(), "LC_ALL=C", "PGAPPNAME=covetctl")
	if c.password != "" {
		env = append(env, "PGPASSWORD="+c.password)
	}
	return env
}

// config is how this program connects to a database of the server.
func (c Conninfo) config(database string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(c.To(database))
	if err != nil {
		return nil, err
	}
	if c.password != "" {
		cfg.Password = c.password
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	return cfg, nil
}
