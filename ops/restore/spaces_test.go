package restore_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// folders makes some folders with a file in each, below a new one, and returns that.
func folders(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, n := range names {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, n), 0o700), os.WriteFile(filepath.Join(root, n, "file"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.Symlink(to, at)); err != nil {
		t.Fatal(err)
	}
}

// A tablespace stays where the directory has it, goes where it is told, and otherwise to where it was.
func TestFindSpaces(t *testing.T) {
	t.Parallel()
	root := folders(t, "data", "mine")
	dir := filepath.Join(root, "data")
	m := &backup.Manifest{}
	m.Tablespaces = []backup.Tablespace{{OID: 5, Location: "/was/five"}, {OID: 6, Location: "/was/six"}, {OID: 7, Location: "/was/seven"}, {OID: 8, Location: "/was/eight"}}
	link(t, filepath.Join(root, "mine"), filepath.Join(dir, "pg_tblspc", "5"))
	if err := os.WriteFile(filepath.Join(dir, "tablespace_map"), []byte("6 /mapped/six\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := restore.FindSpaces(dir, m, map[uint32]string{7: "/named/seven/"})
	if err != nil {
		t.Fatal(err)
	}
	for oid, want := range map[uint32]string{5: filepath.Join(root, "mine"), 6: "/mapped/six", 7: "/named/seven", 8: "/was/eight"} {
		if s.At[oid] != want {
			t.Errorf("tablespace %d goes to %s, not to %s", oid, s.At[oid], want)
		}
	}
	if _, err := restore.FindSpaces(dir, m, map[uint32]string{9: "/x"}); err == nil || !strings.Contains(err.Error(), "5 (/was/five)") {
		t.Errorf("a tablespace that the backup hasn't: %v", err)
	}
}

// Only what is free, or the directory's own, may be written to; never what a running server uses.
func TestSpacesAllow(t *testing.T) {
	t.Parallel()
	root := folders(t, "data", "own", "foreign", "used", "running", "data/within")
	dir := filepath.Join(root, "data")
	link(t, filepath.Join(root, "own"), filepath.Join(dir, "pg_tblspc", "5"))
	link(t, filepath.Join(root, "used"), filepath.Join(dir, "pg_tblspc", "6")) // as a copy of the running server's directory has it
	link(t, filepath.Join(root, "used"), filepath.Join(root, "running", "pg_tblspc", "6"))
	link(t, filepath.Join(root, "used"), filepath.Join(root, "alias"))
	pretend(t, filepath.Join(root, "running"))
	m := &backup.Manifest{}
	m.Tablespaces = []backup.Tablespace{{OID: 5}, {OID: 6}}
	for name, c := range map[string]struct {
		at   string // of tablespace 6; 5 stays where it is
		says string // empty: it is allowed
	}{
		"free":                       {filepath.Join(root, "new"), ""},
		"in the data directory":      {filepath.Join(dir, "new"), ""},
		"holds something":            {filepath.Join(root, "foreign"), "isn't of"},
		"of the running server":      {"", "the server in " + filepath.Join(root, "running")},
		"the same by another name":   {filepath.Join(root, "alias"), "the server in "},
		"the other one's place":      {filepath.Join(root, "own"), "a place of its own"},
		"below the other one's":      {filepath.Join(root, "own", "below"), "a place of its own"},
		"the data directory":         {dir, "the data directory is"},
		"above the data directory":   {root, "the data directory is"},
		"a folder's file in its way": {filepath.Join(root, "foreign", "file"), "not a directory"},
	} {
		named := map[uint32]string{}
		if c.at != "" {
			named[6] = c.at
		}
		s, err := restore.FindSpaces(dir, m, named)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Allow()
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// pretend lets a process look like a server that works in a directory, until the test ends.
func pretend(t *testing.T, dir string) {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(t.TempDir(), "postgres")
	link(t, sleep, named)
	cmd := exec.Command(named)
	cmd.Args = []string{"sleep", "600"}
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
}
