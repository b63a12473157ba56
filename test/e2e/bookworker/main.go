// Bookworker is a release whose code belongs to its data: it answers every request with its version and the newest entry of
// the book, as the database in BOOK has it at that moment. So an answer shows whether the two fit.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	http.HandleFunc("/", answer)
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil); err != nil { //nolint:gosec // in a test
		fmt.Fprintln(os.Stderr, "bookworker:", err)
		os.Exit(1)
	}
}

func answer(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/health") {
		return
	}
	entry, err := newest(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintf(w, "%s %d", os.Getenv("VERSION"), entry) // who has gone needs no answer
}

// newest asks over a connection of its own: one that is kept might be another server's by now.
func newest(ctx context.Context) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, os.Getenv("BOOK"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close(ctx) }() // it has answered
	err = c.QueryRow(ctx, "SELECT max(n) FROM marks").Scan(&n)
	return n, err
}
