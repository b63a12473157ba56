package workers

import (
	"log/slog"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFiveHundredInstances supervises 500 ready workers, and measures a snapshot of them and what watching them takes.
func BenchmarkFiveHundredInstances(b *testing.B) {
	const n = 500
	s := newBench(b)
	spec := s.spec("v1")
	spec.Probe = Probe{} // the defaults: each is probed every second
	began := time.Now()
	s.ensure(spec, n)
	for ready := 0; ready < n; {
		if time.Since(began) > 2*time.Minute {
			b.Fatalf("%d of %d are ready", ready, n)
		}
		time.Sleep(50 * time.Millisecond)
		ready = len(s.tr.addrs())
	}
	toReady := time.Since(began)
	before, watched := cpu(b), 5*time.Second
	time.Sleep(watched)
	used := cpu(b) - before
	self, err := readProc(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.usage.seen = nil // each time from /proc
		if got := len(s.Instances()); got != n {
			b.Fatalf("%d instances", got)
		}
	}
	b.ReportMetric(toReady.Seconds(), "s-to-ready")
	b.ReportMetric(100*used.Seconds()/watched.Seconds(), "%cpu-watching")
	b.ReportMetric(float64(self.rss)*float64(os.Getpagesize())/(1<<20), "MB-resident")
	b.ReportMetric(float64(threads()), "threads")
	stopping := time.Now()
	if err := s.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(stopping).Seconds(), "s-to-stop")
}

// BenchmarkLogLine is what one line of output costs, from the pipe's bytes to the encoded line.
func BenchmarkLogLine(b *testing.B) {
	l := openLibrary(b.TempDir(), fileLimits{file: 100 << 20, total: 200 << 20, rate: 1 << 40}, slog.New(slog.DiscardHandler))
	defer l.close()
	l.open("v1")
	text := strings.Repeat("x", 99)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		l.add("v1", "v1-1", "stdout", text)
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func threads() int {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return runtime.NumCPU()
	}
	return len(entries)
}
