package restore

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/covetpy/covet/ops/backup"
)

// Spaces are the places of a backup's tablespaces, each outside of the data directory that links to it. Nothing in such a place says
// whose it is, and it may be a running server's: the very one that the backup is of.
type Spaces struct {
	At map[uint32]string // by OID

	dir string
	own map[string]bool // what the directory itself, or a restore of it that was interrupted, has there; resolved
}

// FindSpaces decides where a backup's tablespaces go, in this order: where they are named to, by OID; where the directory that
// is restored into has them, or an interrupted restore of it; where they were. Naming one that the backup hasn't is an error.
func FindSpaces(dir string, m *backup.Manifest, named map[uint32]string) (*Spaces, error) {
	for _, oid := range slices.Sorted(maps.Keys(named)) {
		if !slices.ContainsFunc(m.Tablespaces, func(t backup.Tablespace) bool { return t.OID == oid }) {
			return nil, fmt.Errorf("backup %s has no tablespace %d: it has %s", m.ID, oid, listSpaces(m))
		}
	}
	has, err := spacesIn(dir)
	if err != nil {
		return nil, fmt.Errorf("look for the tablespaces of %s: %w", dir, err)
	}
	s := &Spaces{At: map[uint32]string{}, dir: dir, own: map[string]bool{}}
	for _, at := range has {
		s.own[resolved(at)] = true
	}
	for _, t := range m.Tablespaces {
		s.At[t.OID] = filepath.Clean(cmp.Or(named[t.OID], has[t.OID], t.Location))
	}
	return s, nil
}

func listSpaces(m *backup.Manifest) string {
	if len(m.Tablespaces) == 0 {
		return "none"
	}
	var out []string
	for _, t := range m.Tablespaces {
		out = append(out, fmt.Sprintf("%d (%s)", t.OID, t.Location))
	}
	return strings.Join(out, ", ")
}

// spacesIn are the tablespaces' places that a data directory knows: the links of its server, the map that a server makes them by, and
// what a restore under way has noted.
func spacesIn(dir string) (map[uint32]string, error) {
	out := map[uint32]string{}
	if text, err := os.ReadFile(filepath.Join(dir, markerName)); err == nil {
		var m marker
		if json.Unmarshal(text, &m) == nil {
			maps.Copy(out, m.Spaces)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "tablespace_map"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	maps.Copy(out, parseTablespaceMap(string(text)))
	links, err := os.ReadDir(filepath.Join(dir, "pg_tblspc"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, l := range links {
		oid, err := strconv.ParseUint(l.Name(), 10, 32)
		to, linkErr := os.Readlink(filepath.Join(dir, "pg_tblspc", l.Name()))
		if err == nil && linkErr == nil {
			out[uint32(oid)] = to
		}
	}
	return out, nil
}

// resolved is a path without symbolic links, as far as it is there.
func resolved(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return filepath.Clean(path)
}

// SpaceError says why a tablespace cannot go to a place.
type SpaceError struct {
	OID uint32
	Why string
}

func (e *SpaceError) Error() string { return e.Why + ": " + e.Out() }

// Out is the way out.
func (e *SpaceError) Out() string {
	return fmt.Sprintf("name another place with --tablespace %d=DIR", e.OID)
}

// Allow refuses places that must not be written to: such as lie in one another, as a running server uses, and as hold something that
// isn't the directory's own. Being told to overwrite the directory is not being told to overwrite those. It fails with a SpaceError.
func (s *Spaces) Allow() error {
	if err := s.apart(); err != nil {
		return err
	}
	used := usedSpaces(s.dir)
	for _, oid := range slices.Sorted(maps.Keys(s.At)) {
		at := s.At[oid]
		entries, err := os.ReadDir(at)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
			continue
		}
		if err != nil {
			return &SpaceError{oid, fmt.Sprintf("tablespace %d cannot be looked at: %v", oid, err)}
		}
		if server, ok := used[resolved(at)]; ok {
			return &SpaceError{oid, fmt.Sprintf("tablespace %d would go to %s, which the server in %s uses (process %d)", oid, at, server.dir, server.pid)}
		}
		if !s.own[resolved(at)] {
			return &SpaceError{oid, fmt.Sprintf("tablespace %d would go to %s, which holds something already that isn't of %s", oid, at, s.dir)}
		}
	}
	return nil
}

// apart refuses a place that another one, or the data directory, lies in.
func (s *Spaces) apart() error {
	for _, oid := range slices.Sorted(maps.Keys(s.At)) {
		at := resolved(s.At[oid])
		if rel, err := filepath.Rel(at, resolved(s.dir)); err == nil && filepath.IsLocal(rel) {
			return &SpaceError{oid, fmt.Sprintf("tablespace %d cannot go to %s: the data directory is %s", oid, at, s.dir)}
		}
		for other, to := range s.At {
			if rel, err := filepath.Rel(at, resolved(to)); other != oid && err == nil && filepath.IsLocal(rel) {
				return &SpaceError{oid, fmt.Sprintf("tablespaces %d and %d cannot go to %s and %s: each needs a place of its own", oid, other, at, to)}
			}
		}
	}
	return nil
}

// server is a PostgreSQL server that runs.
type server struct {
	pid int
	dir string
}

// usedSpaces are the tablespaces' places of the servers that run on this machine, but for the one in dir, as far as this user may see: a
// server's working directory is its data directory.
func usedSpaces(dir string) map[string]server {
	out, known := map[string]server{}, map[string]bool{}
	for pid := range postgresProcesses() {
		at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if err != nil || at == resolved(dir) {
			continue
		}
		if known[at] { // by another of its processes
			continue
		}
		known[at] = true
		links, err := spacesIn(at)
		if err != nil {
			continue
		}
		for _, to := range links {
			out[resolved(to)] = server{pid, at}
		}
	}
	return out
}

// parseTablespaceMap is the inverse of TablespaceMap. What isn't of a map's form is left out.
func parseTablespaceMap(text string) map[uint32]string {
	out := map[uint32]string{}
	var line strings.Builder
	end := func() {
		oid, at, ok := strings.Cut(line.String(), " ")
		if n, err := strconv.ParseUint(oid, 10, 32); ok && err == nil {
			out[uint32(n)] = at
		}
		line.Reset()
	}
	escaped := false
	for i := range len(text) {
		switch c := text[i]; {
		case !escaped && c == '\\':
			escaped = true
			continue
		case !escaped && c == '\n':
			end()
		default:
			line.WriteByte(c)
		}
		escaped = false
	}
	end()
	return out
}
