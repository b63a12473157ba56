package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/server/config"
)

func TestReadyTellsStrangersTheCauseAlone(t *testing.T) {
	t.Parallel()
	_, refused := pgconn.Connect(t.Context(), "postgres://owner@127.0.0.1:1/orders?sslmode=disable")
	denied := fmt.Errorf("connect to db1: %w", &pgconn.PgError{Code: "28P01", Message: "password authentication failed for user owner"})
	for want, err := range map[string]error{
		"connection refused": refused, "SQLSTATE 28P01": denied, "no replica": errors.New("no replica"),
		"no answer within 2s": context.DeadlineExceeded,
	} {
		s := serveStack(t, config.Config{}, func(s *Server) {
			s.Health().Register(Check{Name: "db", Required: true, Run: func(context.Context) error { return err }})
		})
		_, body := s.do(t, "GET", "/health/ready", nil)
		if !strings.Contains(body, want) || strings.Contains(body, "owner") || strings.Contains(body, "db1") {
			t.Errorf("%v: %s", err, body)
		}
		if full := s.Health().Ready(t.Context()).Checks["db"].Error; errors.Is(err, refused) && !strings.Contains(full, "owner") {
			t.Errorf("the whole error is lost: %q", full)
		}
	}
}
