package pgdump

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Tools are PostgreSQL's programs in one folder.
type Tools struct {
	Dir     string
	Version int // of pg_dump: 150018
}

// Major is the major version.
func (t Tools) Major() int { return t.Version / 10000 }

// places are where packages put PostgreSQL's programs; the PATH is looked through after them.
var places = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/pgsql/bin"}

// Find returns the programs of all versions that are installed, the newest first; those of the one folder alone where it is
// named.
func Find(ctx context.Context, named string) ([]Tools, error) {
	dirs := []string{named}
	if named == "" {
		dirs = installed()
	}
	var out []Tools
	var seen []string
	for _, dir := range dirs {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, "pg_dump"))
		if err != nil && named != "" {
			return nil, fmt.Errorf("there is no pg_dump in %s: %w", named, err)
		}
		if err != nil || slices.Contains(seen, path) {
			continue
		}
		seen = append(seen, path)
		v, err := versionOf(ctx, filepath.Join(dir, "pg_dump"))
		if err != nil && named != "" {
			return nil, err
		}
		if err == nil { // one that doesn't start is as good as none
			out = append(out, Tools{dir, v})
		}
	}
	slices.SortStableFunc(out, func(a, b Tools) int { return cmp.Compare(b.Version, a.Version) })
	return out, nil
}

func installed() []string {
	var dirs []string
	for _, p := range places {
		found, err := filepath.Glob(p)
		if err == nil { // only a wrong pattern fails
			dirs = append(dirs, found...)
		}
	}
	return append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
}

var versionText = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// versionOf asks a program for its version.
func versionOf(ctx context.Context, path string) (int, error) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("%s --version: %w", path, err)
	}
	m := versionText.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("%s --version says %q", path, bytes.TrimSpace(out))
	}
	major, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return 0, err
	}
	minor := 0
	if len(m[2]) > 0 {
		if minor, err = strconv.Atoi(string(m[2])); err != nil {
			return 0, err
		}
	}
	return major*10000 + minor, nil
}

// Choose picks the programs for a server of the major version wanted that are of least at all: the newest of that version, or
// else of the next one. A newer pg_dump reads an older server, but what a newer pg_restore writes an older server doesn't
// always understand.
func Choose(found []Tools, wanted, least int) (Tools, error) {
	var best Tools
	for _, t := range found { // the newest first
		if t.Major() < max(wanted, least) {
			break
		}
		if best.Dir == "" || t.Major() < best.Major() {
			best = t
		}
	}
	if best.Dir != "" {
		return best, nil
	}
	need := max(wanted, least)
	if len(found) == 0 {
		return best, fmt.Errorf("pg_dump and pg_restore are not installed here: install postgresql-client-%d, or name their folder with --pg-bin", need)
	}
	var have []string
	for _, t := range found {
		have = append(have, fmt.Sprintf("%d in %s", t.Major(), t.Dir))
	}
	return best, fmt.Errorf("PostgreSQL %d needs pg_dump and pg_restore of version %d or later, and there is only %s: install postgresql-client-%d, or name their folder with --pg-bin",
		need, need, strings.Join(have, ", "), need)
}
