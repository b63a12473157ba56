package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Write runs f in a transaction on the primary, and commits it where f returns nil. Where the primary is away or was
// demoted it waits for the next one, for AcquireTimeout at most, and runs f again: f must do nothing outside of its
// transaction. A commit whose outcome is not known is never tried again: [ErrUnknownOutcome].
func (d *DB) Write(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	return d.persist(ctx, func() (error, bool) { return d.writeOnce(ctx, f) })
}

// writeOnce runs the transaction on the primary that is known. again says that nothing was committed, and that another
// server, or this one later, may do it.
func (d *DB) writeOnce(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) (err error, again bool) {
	v := d.view.Load()
	if v.primary < 0 {
		return ErrNoPrimary, true
	}
	n := d.nodes[v.primary]
	u := n.use.Load()
	if u == nil {
		return ErrNoPrimary, true
	}
	conn, err := d.borrow(ctx, n, u)
	if err != nil {
		return fmt.Errorf("write: %w", err), ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded)
	}
	ours, cancel := until(ctx, u.disowned)
	defer cancel()
	err, committing := d.transact(ours, conn, f)
	bad := demoted(err) || lost(err, conn.Conn().IsClosed()) || err != nil && u.disowned.Err() != nil
	giveBack(conn, bad)
	switch {
	case bad && committing:
		d.doubt()
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err), false
	case !bad || ctx.Err() != nil:
		return err, false
	}
	if demoted(err) {
		n.shut() // its other connections lead to a standby too
	}
	return fmt.Errorf("write to %s: %w", n.name, err), true
}

// transact runs f between BEGIN and COMMIT. committing is whether an error came after COMMIT was sent.
func (d *DB) transact(ctx context.Context, conn *pgxpool.Conn, f func(ctx context.Context, tx pgx.Tx) error) (err error, committing bool) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err, false
	}
	if err := f(ctx, tx); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if back := tx.Rollback(undo); back != nil && !errors.Is(back, pgx.ErrTxClosed) && !conn.Conn().IsClosed() {
			return errors.Join(err, back), false
		}
		return err, false
	}
	session := SessionFrom(ctx)
	if session == nil || len(d.nodes) == 1 {
		return tx.Commit(ctx), true
	}
	return commitAt(ctx, conn.Conn(), session), true
}

// commitAt commits and asks how far the log has come, in one round trip.
func commitAt(ctx context.Context, conn *pgx.Conn, s *Session) error {
	results, err := conn.PgConn().Exec(ctx, "commit; select pg_current_wal_insert_lsn()").ReadAll()
	if err != nil {
		return err
	}
	if len(results) != 2 || len(results[1].Rows) != 1 {
		return errors.New("commit: the server's answer cannot be read")
	}
	if results[0].CommandTag.String() == "ROLLBACK" {
		return pgx.ErrTxCommitRollback
	}
	at, err := ParseLSN(string(results[1].Rows[0][0]))
	if err != nil {
		return fmt.Errorf("commit: position %q: %w", results[1].Rows[0][0], err)
	}
	s.Wrote(at)
	return nil
}
