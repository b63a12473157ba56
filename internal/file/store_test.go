package file_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"strings"

	"github.com/covetpy/covet/internal/file"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/backup/storetest"
)

func open(t *testing.T) *file.Store {
	t.Helper()
	s, err := file.Open(filepath.Join(t.TempDir(), "not", "made", "yet"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) backup.Store { return open(t) })
}

func TestStoreRefusesKeysOutside(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, key := range []string{"", ".", "..", "../x", "/etc/passwd", "a//b", "a/../b", ".tmp/x"} {
		if err := s.Put(t.Context(), key, strings.NewReader("x"), backup.PutOptions{}); err == nil {
			t.Errorf("Put(%q) succeeds", key)
		}
		if r, err := s.Get(t.Context(), key, 0, -1); err == nil {
			t.Errorf("Get(%q) succeeds", key)
			_ = r.Close()
		}
	}
}

func TestSweepRemovesOnlyWhatIsOld(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s, err := file.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, ".tmp"), 0o750); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, age := range map[string]time.Duration{"put-old": 48 * time.Hour, "put-new": time.Minute} {
		p := filepath.Join(root, ".tmp", name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sweep(t.Context(), now.Add(-24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(root, ".tmp", "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "put-new" {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestOpenWantsAnAbsolutePath(t *testing.T) {
	t.Parallel()
	if _, err := file.Open("relative/dir"); err == nil {
		t.Error("a relative path is accepted")
	}
}
