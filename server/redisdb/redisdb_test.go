package redisdb_test

import (
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
