package workers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrCommand is in every error about a command that cannot be run: not there, not executable, not the digest's.
var ErrCommand = errors.New("command cannot be run")

// resolve returns the path of the executable that argv0 names: a path is relative to dir, a bare name is looked up in path (as
// PATH) and then in dir.
func resolve(argv0, dir, path string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("%w: working directory %s: %w", ErrCommand, dir, err)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return "", fmt.Errorf("%w: its working directory %s does not exist or is no directory", ErrCommand, dir)
	}
	if strings.Contains(argv0, "/") {
		file := argv0
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		return file, executable(file)
	}
	var found error
	for _, folder := range append(filepath.SplitList(path), dir) {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(dir, folder)
		}
		file := filepath.Join(folder, argv0)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && found == nil {
			found = err // there, but not executable: worth more than "not found"
		}
	}
	if found != nil {
		return "", found
	}
	return "", fmt.Errorf("%w: %q is neither in PATH (%s) nor in %s", ErrCommand, argv0, path, dir)
}

func executable(file string) error {
	st, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s does not exist: %w", ErrCommand, file, fs.ErrNotExist)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrCommand, err)
	case st.IsDir():
		return fmt.Errorf("%w: %s is a directory", ErrCommand, file)
	}
	if err := unix.Access(file, unix.X_OK); err != nil {
		return fmt.Errorf("%w: %s is not executable for covetd's user (chmod +x): %w", ErrCommand, file, err)
	}
	return nil
}

// fileIdentity changes when a file's content may have: any write moves ctime, which nobody can set back.
type fileIdentity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// digests remembers the digests of executables, so that starting 500 instances reads theirs once.
type digests struct {
	mu   sync.Mutex
	seen map[fileIdentity]string
}

// verify refuses a file whose sha256 is not the wanted one. An empty want accepts all.
func (d *digests) verify(file, want string) error {
	if want == "" {
		return nil
	}
	got, err := d.digest(file)
	if err != nil {
		return fmt.Errorf("%w: its digest: %w", ErrCommand, err)
	}
	if got != want {
		return fmt.Errorf("%w: %s has sha256 %s, but the release was added with %s: it was replaced or damaged since; "+
			"restore the file, or add it as a new release", ErrCommand, file, got, want)
	}
	return nil
}

func (d *digests) digest(file string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock() // held while reading: the others that wait here want the same file
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	id, err := identify(f)
	if err != nil {
		return "", err
	}
	if sum, ok := d.seen[id]; ok {
		return sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	if d.seen == nil || len(d.seen) > 100 {
		d.seen = map[fileIdentity]string{}
	}
	d.seen[id] = hex.EncodeToString(h.Sum(nil))
	return d.seen[id], nil
}

func identify(f *os.File) (fileIdentity, error) {
	st, err := f.Stat()
	if err != nil {
		return fileIdentity{}, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fileIdentity{}, fmt.Errorf("%s: no inode known", f.Name())
	}
	return fileIdentity{dev: sys.Dev, ino: sys.Ino, size: sys.Size, mtime: sys.Mtim, ctime: sys.Ctim}, nil
}
