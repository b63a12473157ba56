package pgwire

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/covetpy/covet/ops/backup"
)

// emptied are the folders whose content is of no use to a restored server; they themselves must be there.
var emptied = []string{"pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"}

// left are the files that no backup has: of the running server, or made anew.
var left = []string{
	"postmaster.pid", "postmaster.opts", "backup_label", "backup_label.old", "tablespace_map", "tablespace_map.old",
	"backup_manifest", "current_logfiles.tmp", "postgresql.auto.conf.tmp", controlPath,
}

// Essential are files that every cluster has: see backup.Job.
func Essential() []string {
	return []string{"PG_VERSION", controlPath, "global/pg_filenode.map", "base/1/PG_VERSION", "pg_xact/"}
}

const controlPath = "global/pg_control"

// listFiles lists what of one folder tree belongs to a backup, as a server's own base backup has it: root is the folder of
// the space, below what of it to list; spaces are the folders below root that are spaces of their own.
func listFiles(root, below string, space int, spaces []string) ([]backup.File, error) {
	var out []backup.File
	unlogged := map[string]bool{}
	// With the separator at its end, a root that is a symbolic link is followed.
	err := filepath.WalkDir(filepath.Join(root, below)+string(filepath.Separator), func(full string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, full)
		if err != nil || rel == "." {
			return err
		}
		f, use, err := listed(rel, e, space)
		if err != nil || !use {
			return err
		}
		if name, ok := strings.CutSuffix(path.Base(f.Path), "_init"); ok && f.Type == backup.TypeFile {
			unlogged[path.Join(path.Dir(f.Path), name)] = true
		}
		out = append(out, f)
		if f.Type == backup.TypeDir && slices.Contains(spaces, f.Path) {
			return fs.SkipDir
		}
		if f.Type == backup.TypeDir && f.Space == 0 && slices.Contains(emptied, f.Path) {
			if f.Path == "pg_wal" {
				out = append(out, backup.File{Path: "pg_wal/archive_status", Type: backup.TypeDir, Mode: f.Mode, ModTime: f.ModTime})
			}
			if e.IsDir() {
				return fs.SkipDir
			}
		}
		return nil
	})
	// Of an unlogged table only the fork is needed from which it is made empty.
	out = slices.DeleteFunc(out, func(f backup.File) bool {
		r, ok := parseRelation(f.Path)
		return ok && r.fork != "init" && unlogged[path.Join(path.Dir(f.Path), r.number)]
	})
	return out, err
}

// within are the tablespaces' folders that lie below dir, by their paths in it: a server warns of such a place, and takes it.
func within(dir string, spaces []backup.Tablespace) ([]string, error) {
	top, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range spaces {
		at, err := filepath.EvalSymlinks(s.Location)
		if err != nil {
			return nil, err
		}
		if rel, err := filepath.Rel(top, at); err == nil && filepath.IsLocal(rel) {
			out = append(out, filepath.ToSlash(rel))
		}
	}
	return out, nil
}

// listed makes a file of a folder's entry; use says whether it belongs to a backup.
func listed(rel string, e fs.DirEntry, space int) (f backup.File, use bool, err error) {
	name := e.Name()
	f = backup.File{Space: space, Path: filepath.ToSlash(rel)}
	if strings.HasPrefix(name, "pgsql_tmp") || strings.HasPrefix(name, "pg_internal.init") || isTemporary(name) || space == 0 && slices.Contains(left, f.Path) {
		if e.IsDir() {
			return f, false, fs.SkipDir
		}
		return f, false, nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	if err != nil {
		return f, false, err
	}
	f.Mode, f.ModTime = info.Mode().Perm(), info.ModTime().Truncate(1e9).UTC()
	switch {
	case e.IsDir():
		f.Type = backup.TypeDir
	case e.Type()&fs.ModeSymlink != 0 && space == 0 && slices.Contains(emptied, f.Path): // such as pg_wal on another disk
		f.Type, f.Mode = backup.TypeDir, 0o700
	case !e.Type().IsRegular(): // a server leaves them out too
		return f, false, nil
	default:
		f.Size = info.Size()
	}
	return f, true, nil
}

// isTemporary says whether a name is that of a temporary table's file: tBACKEND_NUMBER.
func isTemporary(name string) bool {
	backend, rest, ok := strings.Cut(name, "_")
	return ok && len(backend) > 1 && backend[0] == 't' && digits(backend[1:]) && rest != "" && rest[0] >= '0' && rest[0] <= '9'
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// relation is what the name of a table's file says: NUMBER[_FORK][.SEGMENT].
type relation struct {
	number, fork string
	segment      uint32
}

func parseRelation(p string) (r relation, ok bool) {
	dir, name := path.Split(p)
	if !strings.HasPrefix(dir, "base/") && dir != "global/" && !strings.HasPrefix(dir, "pg_tblspc/") && !strings.HasPrefix(dir, "PG_") {
		return r, false
	}
	name, segment, cut := strings.Cut(name, ".")
	if cut {
		n, err := strconv.ParseUint(segment, 10, 16)
		if err != nil {
			return r, false
		}
		r.segment = uint32(n)
	}
	r.number, r.fork, _ = strings.Cut(name, "_")
	return r, digits(r.number) && (r.fork == "" || r.fork == "fsm" || r.fork == "vm" || r.fork == "init")
}
