// Package pg is an application's way to PostgreSQL: a pool for each server, one of which is the primary.
//
//	db.Read(ctx, func(ctx context.Context, q pg.Querier) error { … })   // a replica that is recent enough, or the primary
//	db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error { … })     // a transaction on the primary
//
// Which server is the primary is asked, not configured: a promoted replica is found within a second, a demoted primary is
// let go with all its connections. A [Session] in the context remembers how far its writes have come, so that its reads go
// only to replicas that have replayed them.
package pg
