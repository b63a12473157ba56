// Package pgtest runs real PostgreSQL servers for tests, with the machine's own binaries. A test that runs as root
// starts them as an unprivileged user, as PostgreSQL demands.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Cluster is a database cluster and, while it runs, its server.
type Cluster struct {
	Dir  string // the data directory
	Port int
	Env  []string // of the server, and so of its archive_command; nil: the test's
	// ConfigFile is where postgresql.conf is; empty: in Dir.
	ConfigFile string
	Bin        string // folder of the binaries
	tb         testing.TB
}

// Options change how a cluster is made.
type Options struct {
	NoChecksums bool
	Settings    map[string]string // of postgresql.conf
	Env         []string          // of the server
	Bin         string            // folder of the binaries; empty: the newest installed version's
}

// Bin returns PostgreSQL's folder of binaries, the newest version's. Where there is none the test fails, or is skipped
// with COVET_TEST_ALLOW_SKIP=1.
func Bin(tb testing.TB) string {
	tb.Helper()
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		tb.Fatal(err)
	}
	slices.SortFunc(dirs, func(a, b string) int { return version(a) - version(b) })
	for _, dir := range slices.Backward(dirs) {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil && version(dir) >= 15 {
			return dir
		}
	}
	const missing = "PostgreSQL 15 or later is not installed: apt-get install postgresql"
	if os.Getenv("COVET_TEST_ALLOW_SKIP") == "1" {
		tb.Skip(missing)
	}
	tb.Fatal(missing)
	return ""
}

func version(dir string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	if err != nil {
		return 0
	}
	return n
}

// Start makes a cluster and starts its server, which ends with the test.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c := &Cluster{Dir: filepath.Join(Dir(tb), "data"), Env: o.Env, Bin: o.Bin, tb: tb}
	if c.Bin == "" {
		c.Bin = Bin(tb)
	}
	args := []string{"-D", c.Dir, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"}
	if !o.NoChecksums {
		args = append(args, "--data-checksums")
	}
	if out, err := Command(tb, filepath.Join(c.Bin, "initdb"), args...).CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	conf := map[string]string{"wal_level": "replica", "max_wal_senders": "10", "shared_buffers": "32MB", "fsync": "off"}
	for k, v := range o.Settings {
		conf[k] = v
	}
	c.Configure(conf)
	c.Run()
	return c
}

// At is the cluster in an existing data directory, such as a restored one.
func At(tb testing.TB, dir string) *Cluster { return &Cluster{Dir: dir, Bin: Bin(tb), tb: tb} }

// Dir makes a temporary folder that the unprivileged user owns.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "covet-pg-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("clean up: %v", err)
		}
	})
	Own(tb, dir)
	return dir
}

// Own gives a file or folder to the unprivileged user.
func Own(tb testing.TB, path string) {
	tb.Helper()
	if cred := credential(tb); cred != nil {
		if err := os.Chown(path, int(cred.Uid), int(cred.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
}

// credential is that of the user postgres when the test runs as root; nil otherwise.
func credential(tb testing.TB) *syscall.Credential {
	tb.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		tb.Fatal(err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		tb.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// Command is a command that runs as the unprivileged user.
func Command(tb testing.TB, name string, args ...string) *exec.Cmd {
	tb.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(tb)}
	return cmd
}

// Configure appends settings to postgresql.conf.
func (c *Cluster) Configure(settings map[string]string) {
	c.tb.Helper()
	f, err := os.OpenFile(filepath.Join(c.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		c.tb.Fatal(err)
	}
	for k, v := range settings {
		if _, err := fmt.Fprintf(f, "%s = '%s'\n", k, strings.ReplaceAll(v, "'", "''")); err != nil {
			c.tb.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		c.tb.Fatal(err)
	}
}

// Run starts the server and waits until it takes connections. It ends with the test.
func (c *Cluster) Run() {
	c.tb.Helper()
	said, err := c.start()
	for range 5 { // somebody may take the port that was free a moment ago
		if err != nil && strings.Contains(said, "Address already in use") {
			said, err = c.start()
		}
	}
	if err != nil {
		c.tb.Fatalf("start PostgreSQL in %s: %v\n%s", c.Dir, err, said)
	}
	c.tb.Cleanup(func() { c.Stop("immediate") })
}

// start starts the server at a free port, and returns what it says where it doesn't come up.
func (c *Cluster) start() (said string, err error) {
	c.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.tb.Fatal(err)
	}
	c.Port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		c.tb.Fatal(err)
	}
	log := filepath.Join(filepath.Dir(c.Dir), "server.log")
	opts := fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -k %s", c.Port, filepath.Dir(c.Dir))
	if c.ConfigFile != "" {
		opts += " -c config_file=" + c.ConfigFile
	}
	cmd := Command(c.tb, filepath.Join(c.Bin, "pg_ctl"), "-D", c.Dir, "-l", log, "-o", opts, "-w", "-t", "60", "start")
	cmd.Env = c.Env
	// Without pipes: the server inherits what pg_ctl has, and would keep them open.
	if err := cmd.Run(); err != nil {
		text, readErr := os.ReadFile(log)
		return string(text), errors.Join(err, readErr)
	}
	return "", nil
}

// Stop ends the server: "smart", "fast" or "immediate". A stopped server is left alone.
func (c *Cluster) Stop(mode string) {
	c.tb.Helper()
	if _, err := os.Stat(filepath.Join(c.Dir, "postmaster.pid")); err != nil {
		return
	}
	out, err := Command(c.tb, filepath.Join(c.Bin, "pg_ctl"), "-D", c.Dir, "-m", mode, "-w", "stop").CombinedOutput()
	if err != nil && !strings.Contains(string(out), "Is server running?") {
		c.tb.Errorf("stop PostgreSQL: %v\n%s", err, out)
	}
}

// DSN connects to the database postgres as superuser.
func (c *Cluster) DSN() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.Port)
}

// Connect opens a connection that ends with the test.
func (c *Cluster) Connect() *pgx.Conn {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.DSN())
	if err != nil {
		c.tb.Fatalf("connect to PostgreSQL: %v", err)
	}
	c.tb.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server may have ended first
	return conn
}

// Exec runs statements, each on its own.
func (c *Cluster) Exec(statements ...string) {
	c.tb.Helper()
	ctx := context.Background()
	conn := c.Connect()
	defer func() { _ = conn.Close(ctx) }()
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			c.tb.Fatalf("%s: %v", s, err)
		}
	}
}

// One returns the single value that a query yields, as text.
func (c *Cluster) One(query string, args ...any) string {
	c.tb.Helper()
	return c.Value("SELECT ("+query+")::text", args...)
}

// Value is One for a statement that yields text by itself, such as INSERT … RETURNING.
func (c *Cluster) Value(query string, args ...any) string {
	c.tb.Helper()
	ctx := context.Background()
	conn := c.Connect()
	defer func() { _ = conn.Close(ctx) }()
	var v *string
	if err := conn.QueryRow(ctx, query, args...).Scan(&v); err != nil {
		c.tb.Fatalf("%s: %v", query, err)
	}
	if v == nil {
		return ""
	}
	return *v
}

// Log is what the server wrote.
func (c *Cluster) Log() string {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(c.Dir), "server.log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
