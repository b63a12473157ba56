// Package disktest gives tests a disk that is soon full.
package disktest

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// Small mounts a file system of the given size ("8m") until the test ends, and returns where; everybody may write to it. Where none
// can be mounted, the test is skipped.
func Small(tb testing.TB, size string) (dir string) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("skipped: mounting a small file system needs root")
	}
	dir, err := os.MkdirTemp("", "covet-disk-")
	if err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777,size="+size); err != nil {
		tb.Skipf("skipped: a tmpfs cannot be mounted here: %v", errors.Join(err, os.Remove(dir)))
	}
	tb.Cleanup(func() {
		if err := errors.Join(syscall.Unmount(dir, syscall.MNT_DETACH), os.Remove(dir)); err != nil {
			tb.Error(err)
		}
	})
	return dir
}
