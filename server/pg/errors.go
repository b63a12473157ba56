package pg

import (
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNoPrimary is returned when no server takes writes, and ErrNoServer when none answers at all.
var (
	ErrNoPrimary = errors.New("no database server takes writes")
	ErrNoServer  = errors.New("no database server answers")
	// ErrUnknownOutcome is returned when the connection ended while a commit was under way: it may have happened or not.
	ErrUnknownOutcome = errors.New("the connection ended during the commit: whether it happened is not known")
)

// SQLSTATEs that say something of the server rather than of the statement.
const (
	readOnlyTransaction = "25006" // a standby answered: the primary was demoted
	adminShutdown       = "57P01"
	crashShutdown       = "57P02"
	cannotConnectNow    = "57P03"
)

// demoted says whether a server refused a write because it is a standby.
func demoted(err error) bool { return hasCode(err, readOnlyTransaction) }

// lost says whether the server failed rather than the statement: another one, or the same one later, may do it. closed
// is whether the connection is gone.
func lost(err error, closed bool) bool {
	if err == nil {
		return false
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return hasCode(err, adminShutdown, crashShutdown, cannotConnectNow)
	}
	return closed
}

func hasCode(err error, codes ...string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && slices.Contains(codes, pgErr.Code)
}

// IsUndefinedTable says whether a statement failed because its table is not there.
func IsUndefinedTable(err error) bool { return hasCode(err, "42P01") }
