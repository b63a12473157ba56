package redisdb_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/server/redisdb"
	"github.com/covetpy/covet/server/redisdb/redistest"
	"github.com/redis/go-redis/v9"
)

func TestAwayIsSaidAtOnceAndEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	db, err := redisdb.Open(server.URL(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	script := redis.NewScript("return ARGV[1]")
	ask := func() error {
		_, err := db.Run(t.Context(), script, nil, "x")
		return err
	}
	if err := ask(); err != nil || !db.Up() {
		t.Fatal(err)
	}
	before := db.Generation()
	server.Stop()
	if err := ask(); err == nil || errors.Is(err, redisdb.ErrAway) {
		t.Errorf("a server that hangs: %v", err)
	}
	if err := ask(); !errors.Is(err, redisdb.ErrAway) || db.Up() {
		t.Errorf("the second question: %v", err)
	}
	server.Continue()
	for deadline := time.Now().Add(20 * time.Second); ask() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is never asked again")
		}
	}
	if db.Generation() == before {
		t.Error("the generation stands though redis was away")
	}
}

// A request that asks three servers that hang must not wait for each of them.
func TestOneRequestWaitsOnce(t *testing.T) {
	t.Parallel()
	ctx := context.WithValue(t.Context(), redisdb.LostKey{}, &redisdb.Lost{})
	script := redis.NewScript("return ARGV[1]")
	var dbs []*redisdb.DB
	for range 3 {
		server := redistest.Start(t)
		db, err := redisdb.Open(server.URL(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		if _, err := db.Run(ctx, script, nil, "x"); err != nil {
			t.Fatal(err)
		}
		server.Stop()
		dbs = append(dbs, db)
	}
	for i, db := range dbs {
		_, err := db.Run(ctx, script, nil, "x")
		if err == nil || errors.Is(err, redisdb.ErrAway) != (i > 0) {
			t.Errorf("question %d: %v", i+1, err)
		}
		if up := i > 0; db.Up() != up {
			t.Errorf("server %d is up: %v; one that was not asked is not away", i+1, db.Up())
		}
	}
}

func TestURLIsNeverShown(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://user:geheim@host", "redis://user:geheim@host:port:x"} {
		_, err := redisdb.Open(url, slog.New(slog.DiscardHandler))
		if err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", url, err)
		}
		if err := redisdb.Check(url); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
