package backupcmd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func asUser(c *syscall.Credential) *syscall.SysProcAttr { return &syscall.SysProcAttr{Credential: c} }

// placeOwned looks whether the server's user gets at the directory, and whether it can be written to at all.
func (v *viewer) placeOwned() {
	for _, dir := range v.roots() {
		above := existing(dir)
		info, err := os.Stat(above)
		if err != nil {
			v.add(dir, err.Error(), "name another place")
			continue
		}
		switch own := ownerOfFile(info); {
		case !info.IsDir():
			v.add(dir, above+" is not a folder", "name another place")
		case readOnly(above):
			v.add(dir, "its file system is mounted read-only", "mount it for writing, or name another place")
		case v.owner == nil && above == dir && own != os.Geteuid():
			v.add(dir, fmt.Sprintf("it belongs to another user (%d): PostgreSQL starts only in a directory of its own user", own),
				fmt.Sprintf("chown %s %s, or run this as root with --owner", operator(), dir))
		case syscall.Access(above, writable) != nil:
			v.add(dir, fmt.Sprintf("%s may not write in %s", operator(), above), "run this as its owner, or name another place")
		case v.owner != nil && !v.through(dir, above):
			v.add(dir, fmt.Sprintf("user %s does not get through the folders above it: PostgreSQL would not start", v.user()),
				"chmod a+x them, name another place, or say with --owner who is to run PostgreSQL")
		}
	}
}

// roots are the folders that are written to.
func (v *viewer) roots() []string {
	out := []string{v.f.to}
	for _, t := range v.manifest.Tablespaces {
		out = append(out, cmp.Or(v.locations[t.OID], t.Location))
	}
	return out
}

// existing is the path, or the nearest folder above it that is there.
func existing(path string) string {
	for path != "/" {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
		path = filepath.Dir(path)
	}
	return path
}

func ownerOfFile(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return os.Geteuid()
}

func readOnly(dir string) bool {
	return errors.Is(syscall.Access(dir, writable), syscall.EROFS)
}

// writable is access(2)'s W_OK.
const writable = 2

// through says whether the server's user gets to a directory, as far as the folders above it are there already: those that
// are made are open to all.
func (v *viewer) through(dir, above string) bool {
	if above == dir {
		above = filepath.Dir(dir)
	}
	return v.may("x", above)
}

// repository looks whether the server will get at the repository as its own user: by then it is alone.
func (v *viewer) repository() {
	dir, local := strings.CutPrefix(v.f.repo, "file://")
	if !local {
		return
	}
	at := filepath.Join(dir, v.cluster.Service, v.cluster.System.String(), "wal")
	if !v.may("r", at) || !v.may("x", at) {
		v.add("repository "+dir, fmt.Sprintf("user %s may not read %s: PostgreSQL could not fetch its log", v.user(), at),
			fmt.Sprintf("give the repository to %s, or to a group of theirs: chgrp -R GROUP %s; chmod -R g+rX %s", v.user(), dir, dir))
		return
	}
	if v.f.archive == "preserve" && v.f.starts() && !v.may("w", at) {
		v.add("repository "+dir, fmt.Sprintf("user %s may not write in %s: the restored server could not archive", v.user(), at),
			fmt.Sprintf("give the repository to %s, or say --archive off for a scratch copy", v.user()))
	}
}

// files looks whether the server's user may read what fetching the log takes.
func (v *viewer) files() {
	for _, f := range v.needed() {
		if f.path == "" {
			continue
		}
		if _, err := os.Stat(f.path); err != nil && f.optional {
			continue
		}
		if f.run && v.may("x", f.path) || !f.run && v.may("r", f.path) {
			continue
		}
		v.add(f.what, fmt.Sprintf("user %s may not use %s: PostgreSQL could not fetch its log", v.user(), f.path), f.out)
	}
}

// neededFile is one that the restore_command opens.
type neededFile struct {
	what, path, out string
	optional        bool // it may be missing
	run             bool
}

func (v *viewer) needed() []neededFile {
	readable := func(path string) string {
		return fmt.Sprintf("chgrp it to a group of %s and chmod g+r, with the folders above it (%s)", v.user(), path)
	}
	self, err := os.Executable()
	if err != nil {
		self = ""
	}
	out := []neededFile{
		{what: "this program", path: self, out: "install covetctl where everybody may run it, such as /usr/local/bin", run: true},
		{what: "age identity", path: absolutePath(v.f.keys.IdentityFile), out: readable(v.f.keys.IdentityFile) + ", or give the key itself by COVET_AGE_IDENTITY"},
		{what: "age recipients", path: absolutePath(v.f.keys.RecipientsFile), out: readable(v.f.keys.RecipientsFile)},
		{what: "configuration", path: os.Getenv("COVET_CONFIG"), out: readable(os.Getenv("COVET_CONFIG"))},
	}
	if strings.HasPrefix(v.f.repo, "s3://") {
		out = append(out, neededFile{what: "S3 authorities", path: v.f.caFile, out: readable(v.f.caFile)})
		out = append(out, v.credentials(readable)...)
	}
	return out
}

// credentials are the files by which S3 knows who asks, where the environment itself doesn't say.
func (v *viewer) credentials(readable func(string) string) []neededFile {
	if os.Getenv("AWS_ACCESS_KEY_ID") != "" && os.Getenv("AWS_PROFILE") == "" {
		return nil
	}
	home := os.Getenv("HOME")
	var out []neededFile
	for _, c := range []struct{ what, path string }{
		{"S3 credentials", cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), filepath.Join(home, ".aws", "credentials"))},
		{"S3 configuration", cmp.Or(os.Getenv("AWS_CONFIG_FILE"), filepath.Join(home, ".aws", "config"))},
		{"S3 web identity", os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")},
	} {
		out = append(out, neededFile{what: c.what, path: c.path, optional: true, out: readable(c.path) + ", or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"})
	}
	return out
}

func absolutePath(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
