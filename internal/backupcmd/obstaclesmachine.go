package backupcmd

import (
	"bufio"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/covetpy/covet/internal/pgctl"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// replayRoom is what a recovery needs beside the files: the log that is fetched ahead, and what is being replayed.
const replayRoom = 512 << 20

// space compares, for every file system, what the files take with what is free. What is there already makes room.
func (v *viewer) space() {
	type need struct {
		dirs  []string
		bytes int64
	}
	needs := map[uint64]*need{}
	sizes := make([]int64, len(v.manifest.Tablespaces)+1)
	for i := range v.manifest.Items {
		sizes[v.manifest.Items[i].Space] += v.manifest.Items[i].Size
	}
	for i, dir := range v.roots() {
		dev, ok := device(existing(dir))
		if !ok {
			continue
		}
		n := needs[dev]
		if n == nil {
			n = &need{}
			needs[dev] = n
		}
		n.dirs = append(n.dirs, dir)
		n.bytes += sizes[i] - used(dir)
		if i == 0 && v.f.starts() {
			n.bytes += min(replayRoom, v.manifest.Bytes/4+replayRoom/4)
		}
	}
	for _, n := range needs {
		var st syscall.Statfs_t
		if syscall.Statfs(existing(n.dirs[0]), &st) != nil {
			continue
		}
		free := int64(st.Bavail) * st.Bsize
		if os.Geteuid() == 0 {
			free = int64(st.Bfree) * st.Bsize
		}
		if n.bytes > free {
			v.add("disk space", fmt.Sprintf("%s needs %s more, and %s is free", strings.Join(n.dirs, " and "), size(n.bytes), size(free)),
				fmt.Sprintf("free %s, or restore elsewhere (--to, --tablespace)", size(n.bytes-free)))
		}
	}
}

func device(path string) (uint64, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(st.Dev), true //nolint:unconvert // it has another type elsewhere
}

// used is what a folder takes now.
func used(dir string) (n int64) {
	err := filepath.WalkDir(dir+string(filepath.Separator), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil //nolint:nilerr // what can't be seen makes no room
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return n
}

// major is PostgreSQL's version as its folders are named.
func (v *viewer) major() string { return strconv.Itoa(v.manifest.PGVersion / 10000) }

var postgresVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// binaries looks whether PostgreSQL of the backup's version is here.
func (v *viewer) binaries() {
	if v.f.pgBin == "" {
		if _, err := pgctl.FindBinFor(v.major()); err != nil {
			v.add("PostgreSQL", err.Error(), "the backup is of PostgreSQL "+v.major())
		}
		return
	}
	program := filepath.Join(v.f.pgBin, "postgres")
	out, err := exec.CommandContext(v.ctx, program, "--version").Output()
	if err != nil {
		v.add("PostgreSQL", fmt.Sprintf("%s cannot be run: %v", program, err), "name the folder of PostgreSQL "+v.major()+" with --pg-bin")
		return
	}
	if found := postgresVersion.FindSubmatch(out); found == nil || string(found[1]) != v.major() {
		v.add("PostgreSQL", fmt.Sprintf("%s is %s, and the backup is of PostgreSQL %s", program, strings.TrimSpace(string(out)), v.major()),
			"name the folder of PostgreSQL "+v.major()+" with --pg-bin, or leave it out")
	}
}

// shellSafe looks whether pg_ctl can start a server in the directory: it writes the path between double quotes for a shell, which takes some
// characters for its own.
func (v *viewer) shellSafe() {
	if at := strings.IndexAny(v.f.to, "\"\\$`\n"); at >= 0 {
		v.add(v.f.to, fmt.Sprintf("pg_ctl cannot start a server in a path with %q in it", v.f.to[at]), "name another place")
	}
}

// configuration looks whether the server will find its settings, which aren't in the data directory everywhere.
func (v *viewer) configuration() {
	if strings.Contains(v.f.pgOptions, "config_file") {
		return
	}
	for i := range v.manifest.Items {
		if f := &v.manifest.Items[i]; f.Space == 0 && f.Path == "postgresql.conf" {
			return
		}
	}
	out := `say where it is: --pg-options "-c config_file=/etc/postgresql/` + v.major() + `/main/postgresql.conf"`
	v.add("postgresql.conf", "it is not in the backup, as where it isn't in the data directory (Debian): PostgreSQL would not start", out)
}

// port looks whether another server has the port.
func (v *viewer) port() {
	port := v.portOf()
	if v.place.State == restore.Running && v.runningOn(port) {
		return // the one that is stopped first
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err == nil {
		_ = l.Close() // nobody has seen it
		return
	}
	if listensNowhere.MatchString(v.f.pgOptions) {
		return // it does not listen there
	}
	v.add(fmt.Sprintf("port %d", port), "another server listens on it: PostgreSQL would not start", fmt.Sprintf(`stop that one, or say another: --pg-options "-p %d"`, port+1))
}

// runningOn says whether the server in the directory has the port.
func (v *viewer) runningOn(port int) bool {
	_, has, err := socketOf(v.f.to)
	return err == nil && int(has) == port
}

var (
	listensNowhere = regexp.MustCompile(`listen_addresses=(\s|''|$)`)
	portOption     = regexp.MustCompile(`(?:^|\s)(?:-p\s*|-c\s*port=|--port=)(\d+)`)
	portSetting    = regexp.MustCompile(`^\s*port\s*=?\s*'?(\d+)`)
)

// portOf is the port that the server will listen on: by its command line, the settings that the backup has, or PostgreSQL's own.
func (v *viewer) portOf() int {
	port := 5432
	if n, err := strconv.Atoi(os.Getenv("PGPORT")); err == nil {
		port = n
	}
	for _, name := range []string{"postgresql.conf", "postgresql.auto.conf"} {
		text, err := v.content(name)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(strings.NewReader(text))
		for lines.Scan() {
			if m := portSetting.FindStringSubmatch(lines.Text()); m != nil {
				port = digits(m[1])
			}
		}
	}
	if all := portOption.FindAllStringSubmatch(v.f.pgOptions, -1); len(all) > 0 {
		port = digits(all[len(all)-1][1])
	}
	return port
}

// digits is the number that digits make; 0 where it is too large to be a port.
func digits(s string) int {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// content is a small file of the backup.
func (v *viewer) content(name string) (string, error) {
	for i := range v.manifest.Items {
		f := &v.manifest.Items[i]
		if f.Space == 0 && f.Path == name && f.Type == backup.TypeFile && f.Size < 1<<20 {
			return restore.ReadFile(v.ctx, v.cluster, v.manifest, i)
		}
	}
	return "", fs.ErrNotExist
}
