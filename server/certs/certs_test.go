package certs

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/covetpy/covet/server/certs/certstest"
)

// logged is a log to look into.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func serial(t *testing.T, p *Pair) string {
	t.Helper()
	c, err := p.Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.String()
}

func TestReloadTakesWhatIsRightAndKeepsTheOldOtherwise(t *testing.T) {
	t.Parallel()
	cert, key := certstest.Write(t, t.TempDir(), time.Now().Add(24*365*time.Hour))
	log := &logged{}
	p, err := Load(cert, key, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := serial(t, p)
	certstest.Write(t, filepath.Dir(cert), time.Now().Add(time.Hour))
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	second := serial(t, p)
	if second == first {
		t.Error("the new certificate is not used")
	}
	if !log.has("expires soon") {
		t.Error("a certificate of an hour is not warned about")
	}
	if err := os.WriteFile(key, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(); err == nil || !strings.Contains(err.Error(), "serving on with") {
		t.Errorf("a broken key: %v", err)
	}
	if serial(t, p) != second {
		t.Error("the old certificate is gone")
	}
}

func TestWatchFollowsTheFiles(t *testing.T) {
	t.Parallel()
	cert, key := certstest.Write(t, t.TempDir(), time.Now().Add(24*365*time.Hour))
	log := &logged{}
	p, err := Load(cert, key, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Watch(ctx, 10*time.Millisecond) }()
	first := serial(t, p)
	certstest.Write(t, filepath.Dir(cert), time.Now().Add(24*365*time.Hour))
	await(t, "the new certificate", func() bool { return serial(t, p) != first })
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	await(t, "the fault to be logged", func() bool { return log.has("not usable") })
	cancel()
	<-ended
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good, goodKey := certstest.Write(t, t.TempDir(), time.Now().Add(time.Hour))
	expired, expiredKey := certstest.Write(t, t.TempDir(), time.Now().Add(-time.Hour))
	for cert, key := range map[string]string{good: goodKey, expired: expiredKey} {
		if err := Check(cert, key); err != nil {
			t.Error(err)
		}
	}
	log := &logged{}
	if _, err := Load(expired, expiredKey, slog.New(slog.NewTextHandler(log, nil))); err != nil || !log.has("has expired") {
		t.Errorf("an expired certificate: %v", err)
	}
	for says, files := range map[string][2]string{
		"does not":     {good, expiredKey},
		"no such file": {good, good + ".gone"},
	} {
		if err := Check(files[0], files[1]); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want one that says %q", err, says)
		}
	}
}
