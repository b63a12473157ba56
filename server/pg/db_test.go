package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/test/pg"
	"github.com/jackc/pgx/v5"
)

func open(t *testing.T, cfg Config) *DB {
	t.Helper()
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d
}

func insert(ctx context.Context, d *DB, n int64) error {
	return d.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO orders VALUES ($1)", n)
		return err
	})
}

func newest(ctx context.Context, d *DB) (n int64, standby bool, err error) {
	err = d.Read(ctx, func(ctx context.Context, q Querier) error {
		return q.QueryRow(ctx, "SELECT coalesce(max(n), 0), pg_is_in_recovery() FROM orders").Scan(&n, &standby)
	})
	return n, standby, err
}

func TestReadsSeeWhatTheirSessionWrote(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	primary.Exec("CREATE TABLE orders (n bigint)")
	replica := pgtest.Follow(t, primary, map[string]string{"recovery_min_apply_delay": "3s"})
	d := open(t, Config{URL: primary.DSN(), Replicas: []string{replica.DSN()}, MaxLag: time.Hour, Application: "shop"})

	var s Session
	mine := WithSession(t.Context(), &s)
	if err := insert(mine, d, 1); err != nil {
		t.Fatal(err)
	}
	if n, _, err := newest(mine, d); err != nil || n != 1 {
		t.Fatalf("the session that wrote reads %d, %v", n, err)
	}
	if n, standby, err := newest(WithSession(t.Context(), new(Session)), d); err != nil || n != 0 || !standby {
		t.Fatalf("another session reads %d (standby %v), %v; the delayed replica should have answered", n, standby, err)
	}
	var carried Session
	carried.Resume(s.Token())
	if n, _, err := newest(WithSession(t.Context(), &carried), d); err != nil || n != 1 {
		t.Fatalf("the session that carries the token reads %d, %v", n, err)
	}
	pgtest.Eventually(t, "the session reads from the replica once that has caught up", func() bool {
		n, standby, err := newest(mine, d)
		if err != nil || n != 1 {
			t.Fatalf("the session that wrote reads %d, %v", n, err)
		}
		return standby
	})
	if got := primary.One("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop'"); got == "0" {
		t.Error("no connection is named after the application")
	}
}

func TestWritesFollowAPromotion(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	primary.Exec("CREATE TABLE orders (n bigint)")
	replica := pgtest.Follow(t, primary, nil)
	d := open(t, Config{URL: primary.DSN(), Replicas: []string{replica.DSN()}})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	var written, readErrs, unknown atomic.Int64
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				switch err := insert(ctx, d, written.Add(1)); {
				case errors.Is(err, ErrUnknownOutcome):
					unknown.Add(1)
				case err != nil && ctx.Err() == nil:
					t.Errorf("write: %v", err)
				}
			}
		})
		load.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := newest(ctx, d); err != nil && ctx.Err() == nil {
					readErrs.Add(1)
					t.Errorf("read: %v", err)
				}
			}
		})
	}
	pgtest.Eventually(t, "writes work", func() bool { return written.Load() > 20 })
	primary.Kill()
	replica.Promote()
	promoted, before := time.Now(), written.Load()
	pgtest.Eventually(t, "writes work again", func() bool { return written.Load() > before+20 })
	t.Logf("writes worked again %v after the promotion; %d commits of unknown outcome", time.Since(promoted).Round(time.Millisecond), unknown.Load())
	cancel()
	load.Wait()

	states := d.States()
	if states[0].Role != Away || states[0].Total != 0 || states[1].Role != Primary {
		t.Errorf("states after the promotion: %+v", states)
	}
}

// A primary that hangs holds its connections open: what is under way in them must end when another is promoted.
func TestAFrozenPrimaryIsGivenUp(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	primary.Exec("CREATE TABLE orders (n bigint)")
	replica := pgtest.Follow(t, primary, nil)
	d := open(t, Config{URL: primary.DSN(), Replicas: []string{replica.DSN()}})
	begun, frozen, outcome := make(chan struct{}), make(chan struct{}), make(chan error, 2)
	statement := d.inTransaction(t, begun, frozen)
	go func() { outcome <- statement() }()
	<-begun
	thaw := primary.Freeze()
	close(frozen)
	go func() {
		_, _, err := newest(FromPrimary(t.Context()), d)
		outcome <- err
	}()
	pgtest.Eventually(t, "the frozen server is away", func() bool { return d.States()[0].Role == Away })
	if n, _, err := newest(t.Context(), d); err != nil || n != 0 {
		t.Errorf("a read while the primary is frozen: %d, %v", n, err)
	}
	replica.Promote()
	for range 2 {
		select {
		case err := <-outcome:
			if err != nil {
				t.Errorf("what was under way on the frozen server: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("what was under way on the frozen server still waits for it")
		}
	}
	if got := replica.One("SELECT count(*) FROM orders"); got != "1" {
		t.Errorf("the promoted server has %s orders; the transaction should have been run again there", got)
	}
	thaw()
	pgtest.Eventually(t, "the thawed server is retired", func() bool { return d.States()[0].Role == Retired })
	if got := primary.One("SELECT count(*) FROM orders"); got != "0" {
		t.Errorf("the old primary has %s orders", got)
	}
}

// inTransaction returns a write whose first attempt waits, within its transaction, until it may go on.
func (d *DB) inTransaction(t *testing.T, begun, mayGoOn chan struct{}) func() error {
	var once sync.Once
	return func() error {
		return d.Write(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			once.Do(func() { close(begun); <-mayGoOn })
			_, err := tx.Exec(ctx, "INSERT INTO orders VALUES (1)")
			return err
		})
	}
}

func TestAnOldPrimaryIsLeftAlone(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	primary.Exec("CREATE TABLE orders (n bigint)")
	replica := pgtest.Follow(t, primary, nil)
	d := open(t, Config{URL: primary.DSN(), Replicas: []string{replica.DSN()}})
	if err := insert(t.Context(), d, 1); err != nil {
		t.Fatal(err)
	}
	replica.Promote() // while the old one still takes writes
	pgtest.Eventually(t, "the promoted server is the primary", func() bool { return d.States()[1].Role == Primary })
	if s := d.States()[0]; s.Role != Retired || s.Total != 0 {
		t.Errorf("the old primary is %v with %d connections", s.Role, s.Total)
	}
	if err := insert(t.Context(), d, 2); err != nil {
		t.Fatal(err)
	}
	if got := replica.One("SELECT max(n) FROM orders"); got != "2" {
		t.Errorf("the promoted server has %s", got)
	}
	replica.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := insert(ctx, d, 3); !errors.Is(err, ErrNoPrimary) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write while the promoted server is away: %v", err)
	}
	if got := primary.One("SELECT max(n) FROM orders"); got != "1" {
		t.Errorf("the old primary has %s: a write went to it after another was promoted", got)
	}
}

func TestOneURLNamesAllServers(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	primary.Exec("CREATE TABLE orders (n bigint)")
	replica := pgtest.Follow(t, primary, nil)
	url := fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=prefer&target_session_attrs=read-write", replica.Port, primary.Port)
	d := open(t, Config{URL: url})
	if err := insert(t.Context(), d, 1); err != nil {
		t.Fatal(err)
	}
	if s := d.States(); len(s) != 2 || s[0].Role != Replica || s[1].Role != Primary {
		t.Errorf("states %+v", s)
	}
	if err := d.CheckAny(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestADemotedPrimarysConnectionsGo(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	replica := pgtest.Follow(t, primary, nil)
	d := open(t, Config{URL: replica.DSN()})
	n := d.nodes[0]
	d.view.Store(&view{roles: []Role{Primary}, seen: make([]sighting, 1), primary: 0}) // as if it had been one until now
	err, again := d.writeOnce(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "CREATE TABLE orders (n bigint)")
		return err
	})
	if !again || !demoted(err) {
		t.Fatalf("a write to a standby: %v, again %v", err, again)
	}
	if n.pool() != nil {
		t.Error("the connections to the standby were kept")
	}
}

func TestPoolsAreBounded(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	d := open(t, Config{URL: primary.DSN(), PoolSize: 1, MaxOverflow: 1, AcquireTimeout: 200 * time.Millisecond})
	var held sync.WaitGroup
	release := make(chan struct{})
	for range 2 {
		taken := make(chan struct{})
		held.Go(func() {
			err := d.Read(t.Context(), func(context.Context, Querier) error { close(taken); <-release; return nil })
			if err != nil {
				t.Error(err)
			}
		})
		<-taken
	}
	err := d.Write(t.Context(), func(context.Context, pgx.Tx) error { return nil })
	close(release)
	held.Wait()
	if err == nil || !strings.Contains(err.Error(), "DATABASE_POOL_SIZE") {
		t.Errorf("a third connection: %v; want an error that names the setting", err)
	}
}
