package workers

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ownerVariable marks a worker's environment with the covetd that started it.
const ownerVariable = "COVETD_OWNER"

// owner names one run of covetd over one state folder.
type owner struct {
	state string // hash of the state folder's path, in hex
	pid   int
	start uint64 // of the process, as in /proc/PID/stat
}

// thisOwner is the present process over a state folder.
func thisOwner(stateDir string) (owner, error) {
	path, err := filepath.Abs(stateDir)
	if err != nil {
		return owner{}, fmt.Errorf("state folder: %w", err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return owner{}, fmt.Errorf("state folder: %w", err)
	}
	self, err := readProc(os.Getpid())
	if err != nil {
		return owner{}, fmt.Errorf("reading covetd's own start time: %w", err)
	}
	sum := sha256.Sum256([]byte(path))
	return owner{state: hex.EncodeToString(sum[:8]), pid: self.pid, start: self.start}, nil
}

// String is the owner as its variable's value.
func (o owner) String() string { return fmt.Sprintf("%s/%d/%d", o.state, o.pid, o.start) }

func parseOwner(s string) (owner, error) {
	f := strings.Split(s, "/")
	if len(f) != 3 || len(f[0]) != 16 || strings.Trim(f[0], "0123456789abcdef") != "" {
		return owner{}, fmt.Errorf("%q is no owner", s)
	}
	pid, err := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[2], 10, 64)
	if err := errors.Join(err, err2); err != nil || pid < 1 {
		return owner{}, fmt.Errorf("%q is no owner", s)
	}
	return owner{state: f[0], pid: pid, start: start}, nil
}

// The mark in RLIMIT_LOCKS, from the top: a flag at bit 62, 23 bits of the state folder's hash, 22 of covetd's pid (pid_max is
// at most 2²²), 17 of the instance. It stays under 2⁶³, as the kernel wants.
const (
	markFlag     = uint64(1) << 62
	instanceBits = 17
	pidBits      = 22
	stateBits    = 23
	maxInstances = 1 << instanceBits
)

type mark uint64

func (o owner) mark(instance uint32) mark {
	return mark(markFlag | o.stateMark()<<(pidBits+instanceBits) |
		uint64(o.pid)&(1<<pidBits-1)<<instanceBits | uint64(instance)&(maxInstances-1))
}

func (o owner) stateMark() uint64 {
	b, err := hex.DecodeString(o.state)
	if err != nil || len(b) != 8 {
		return 0 // an owner is only made by thisOwner and parseOwner, which leave no other length
	}
	return binary.BigEndian.Uint64(b) >> (64 - stateBits)
}

func (m mark) valid() bool            { return uint64(m)>>62 == 1 }
func (m mark) pid() int               { return int(uint64(m) >> instanceBits & (1<<pidBits - 1)) }
func (m mark) state() uint64          { return uint64(m) >> (pidBits + instanceBits) & (1<<stateBits - 1) }
func (m mark) group() uint64          { return uint64(m) >> instanceBits } // all of one owner share it
func (m mark) sameOwner(o owner) bool { return m.group() == o.mark(0).group() }

// setMark puts a mark on a process; its later children inherit it.
func setMark(pid int, m mark) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_LOCKS, nil, &limit); err != nil {
		return fmt.Errorf("reading the limit that marks process %d: %w", pid, err)
	}
	limit.Cur = uint64(m)
	if err := unix.Prlimit(pid, unix.RLIMIT_LOCKS, &limit, nil); err != nil {
		return fmt.Errorf("marking process %d: %w", pid, err)
	}
	return nil
}

// markOf reads a process's mark; one without has 0. It works on zombies too, whose environment is gone.
func markOf(pid int) mark {
	var limit unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_LOCKS, nil, &limit)
	if errors.Is(err, unix.EPERM) { // it changed its user; the file is readable for all
		limit.Cur = limitFromFile(pid)
	}
	if m := mark(limit.Cur); m.valid() {
		return m
	}
	return 0
}

func limitFromFile(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Max file locks"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				v, err := strconv.ParseUint(f[0], 10, 64)
				if err == nil {
					return v
				}
			}
		}
	}
	return 0
}
