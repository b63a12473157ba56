package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/jobs"
	"github.com/covetpy/covet/server/pg"
	"github.com/jackc/pgx/v5"
)

// ledger keeps what was sold. Each sale is confirmed by a job afterwards.
type ledger interface {
	sell(ctx context.Context, sale order) error
	newest(ctx context.Context) ([]order, error)
	find(ctx context.Context, id string) (order, error)
	sum(ctx context.Context) (salesView, error)
}

var errNoOrder = errors.New("there is no such order")

// confirmJob is the kind of the job that follows a sale.
const confirmJob = "shop.confirm"

// newLedger keeps sales in the database where there is one, and else in this process.
func newLedger(srv *server.Server) ledger {
	if db := srv.DB(); db != nil {
		l := &databaseLedger{db: db, jobs: srv.Jobs()}
		srv.Jobs().Handle(confirmJob, l.confirm)
		return l
	}
	l := &memoryLedger{jobs: srv.Jobs()}
	srv.Jobs().Handle(confirmJob, l.confirm)
	return l
}

// keptOrders bounds the memory that orders take, and a list of them.
const keptOrders = 1000

// memoryLedger keeps the newest sales of this process.
type memoryLedger struct {
	jobs *jobs.Queue
	mu   sync.Mutex
	sold []order // the newest last
}

func (l *memoryLedger) sell(ctx context.Context, sale order) error {
	l.mu.Lock()
	if len(l.sold) == keptOrders {
		l.sold = append(l.sold[:0], l.sold[1:]...)
	}
	l.sold = append(l.sold, sale)
	l.mu.Unlock()
	return l.jobs.Add(ctx, confirmJob, sale.ID)
}

func (l *memoryLedger) confirm(_ context.Context, payload json.RawMessage) error {
	var id string
	if err := json.Unmarshal(payload, &id); err != nil {
		return fmt.Errorf("read the order's id: %w", err)
	}
	now := time.Now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.index(id); i >= 0 {
		l.sold[i].ConfirmedAt = &now
	}
	return nil
}

func (l *memoryLedger) index(id string) int {
	return slices.IndexFunc(l.sold, func(o order) bool { return o.ID == id })
}

func (l *memoryLedger) newest(context.Context) ([]order, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]order{}, l.sold...), nil
}

func (l *memoryLedger) find(_ context.Context, id string) (order, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.index(id); i >= 0 {
		return l.sold[i], nil
	}
	return order{}, errNoOrder
}

func (l *memoryLedger) sum(context.Context) (salesView, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	view := salesView{Orders: len(l.sold)}
	for _, sale := range l.sold {
		view.Total += sale.Total
	}
	return view, nil
}

// databaseLedger keeps sales in PostgreSQL, where every process of the shop sees them.
type databaseLedger struct {
	db   *pg.DB
	jobs *jobs.Queue
	made atomic.Bool
}

const ordersTable = `SELECT pg_advisory_xact_lock(hashtext('shop_orders')); CREATE TABLE IF NOT EXISTS shop_orders (
	id text PRIMARY KEY, user_name text NOT NULL, lines jsonb NOT NULL, total_cents bigint NOT NULL, at timestamptz NOT NULL, confirmed_at timestamptz)`

// sell takes the sale and the job that confirms it in one transaction: both or neither.
func (l *databaseLedger) sell(ctx context.Context, sale order) error {
	err := l.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if !l.made.Load() {
			if _, err := tx.Conn().PgConn().Exec(ctx, ordersTable).ReadAll(); err != nil {
				return fmt.Errorf("make the table of orders: %w", err)
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO shop_orders (id, user_name, lines, total_cents, at) VALUES ($1, $2, $3, $4, $5)`,
			sale.ID, sale.User, sale.Lines, sale.Total, sale.At)
		if err != nil {
			return fmt.Errorf("write the order: %w", err)
		}
		return l.jobs.AddTx(ctx, tx, confirmJob, sale.ID)
	})
	if err == nil {
		l.made.Store(true)
	}
	return err
}

func (l *databaseLedger) confirm(ctx context.Context, payload json.RawMessage) error {
	var id string
	if err := json.Unmarshal(payload, &id); err != nil {
		return fmt.Errorf("read the order's id: %w", err)
	}
	return l.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE shop_orders SET confirmed_at = now() WHERE id = $1 AND confirmed_at IS NULL`, id)
		return err
	})
}

const selectOrder = `SELECT id, user_name, lines, total_cents, at, confirmed_at FROM shop_orders `

func scanOrder(row pgx.CollectableRow) (order, error) {
	var o order
	err := row.Scan(&o.ID, &o.User, &o.Lines, &o.Total, &o.At, &o.ConfirmedAt)
	return o, err
}

// read runs a query; before the first sale there is no table, and nothing was sold.
func (l *databaseLedger) read(ctx context.Context, f func(ctx context.Context, q pg.Querier) error) error {
	err := l.db.Read(ctx, f)
	if pg.IsUndefinedTable(err) {
		return nil
	}
	return err
}

func (l *databaseLedger) newest(ctx context.Context) ([]order, error) {
	out := []order{}
	err := l.read(ctx, func(ctx context.Context, q pg.Querier) error {
		rows, err := q.Query(ctx, selectOrder+`ORDER BY at DESC LIMIT $1`, keptOrders)
		if err != nil {
			return err
		}
		out, err = pgx.AppendRows(out[:0], rows, scanOrder)
		return err
	})
	slices.Reverse(out)
	return out, err
}

func (l *databaseLedger) find(ctx context.Context, id string) (order, error) {
	var found order
	err := l.read(ctx, func(ctx context.Context, q pg.Querier) error {
		rows, err := q.Query(ctx, selectOrder+`WHERE id = $1`, id)
		if err != nil {
			return err
		}
		found, err = pgx.CollectExactlyOneRow(rows, scanOrder)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) || err == nil && found.ID == "" {
		err = errNoOrder
	}
	return found, err
}

func (l *databaseLedger) sum(ctx context.Context) (view salesView, err error) {
	err = l.read(ctx, func(ctx context.Context, q pg.Querier) error {
		return q.QueryRow(ctx, `SELECT count(*), coalesce(sum(total_cents), 0) FROM shop_orders`).Scan(&view.Orders, &view.Total)
	})
	return view, err
}
