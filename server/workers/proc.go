package workers

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// proc is one line of /proc/PID/stat, as far as it is needed (proc(5)). A pid and its start together name a process for ever.
type proc struct {
	pid, ppid, sid int
	start          uint64 // clock ticks since the machine started
	ticks          uint64 // processor time of it and of the children it has waited for, in clock ticks
	rss            uint64 // pages
	zombie         bool
}

// ticksPerSecond is USER_HZ, which is 100 for every program on Linux.
const ticksPerSecond = 100

// readProc returns fs.ErrNotExist for a pid that is gone.
func readProc(pid int) (proc, error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return proc{}, fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	var line [1024]byte  // the longest one has 52 numbers; three calls are half of what os.ReadFile makes
	n, err := unix.Read(fd, line[:])
	if errors.Is(err, unix.ESRCH) { // it went between open and read
		return proc{}, fs.ErrNotExist
	}
	if err != nil {
		return proc{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return parseStat(line[:n])
}

func parseStat(b []byte) (proc, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')') // the name between may hold anything
	if open < 0 || end < open {
		return proc{}, fmt.Errorf("unreadable /proc stat line %q", b)
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 22 {
		return proc{}, fmt.Errorf("short /proc stat line %q", b)
	}
	var n [22]uint64
	for i := 1; i < len(n); i++ {
		v, err := strconv.ParseInt(f[i], 10, 64) // some are negative, none of ours
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return proc{}, fmt.Errorf("/proc stat line %q: field %d: %w", b, i+3, err)
		}
		n[i] = uint64(v)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:open])))
	if err != nil {
		return proc{}, fmt.Errorf("/proc stat line %q: pid: %w", b, err)
	}
	return proc{
		pid: pid, ppid: int(n[1]), sid: int(n[3]),
		ticks: n[11] + n[12] + n[13] + n[14],
		start: n[19], rss: n[21],
		// A leader that has exited while its threads run on shows Z too; that is no zombie yet.
		zombie: (f[0] == "Z" || f[0] == "X") && n[17] <= 1,
	}, nil
}

// pids lists all processes.
func pids() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	list := make([]int, 0, len(names))
	for _, name := range names {
		if name[0] > '9' { // most of what is no number
			continue
		}
		if pid, err := strconv.Atoi(name); err == nil {
			list = append(list, pid)
		}
	}
	return list, nil
}

// environOf reads a process's environment. It is empty for kernel threads, zombies, other people's processes, and gone ones.
func environOf(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}
