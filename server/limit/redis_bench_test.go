package limit_test

import (
	"context"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/server/limit"
	"github.com/covetpy/covet/server/redisdb"
	"github.com/covetpy/covet/server/redisdb/redistest"
)

// BenchmarkTakeTogether is what the limit of a request in Redis costs this process when many ask at once: user and system
// time, as cpu-ns/op.
func BenchmarkTakeTogether(b *testing.B) {
	db, err := redisdb.Open(redistest.Start(b).URL(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	l := limit.New(limit.Rules{
		{Name: "minute", Limit: 1 << 30, Window: time.Minute, Burst: 1 << 20},
		{Name: "hour", Limit: 1 << 30, Window: time.Hour, Burst: 1 << 20},
	}, db, "bench:")
	b.SetParallelism(16)
	b.ReportAllocs()
	before := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Take(context.Background(), "192.0.2.1", "alice")
		}
	})
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
