package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func must(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// watchPeak looks at the processes of a group until it is called, and returns the largest resident memory of one of them,
// in KiB. What the system counts for a child begins with the memory of the process that started it: this one, which is large.
func watchPeak(group int) (stop func() int64) {
	done, peak := make(chan struct{}), make(chan int64)
	go func() {
		most := int64(0)
		for {
			for _, pid := range processes() {
				if _, fields := stat(pid); len(fields) > 2 && fields[2] == strconv.Itoa(group) {
					most = max(most, residentPeak(pid))
				}
			}
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(30 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-peak
	}
}

// residentPeak is the largest memory that a living process had, in KiB; 0 where it has gone.
func residentPeak(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		return 0
	}
	return kib
}

func treeSize(b *testing.B, dir string) (size int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				size += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return size
}

// firstData is how much must have come to where a tool stores a backup for it to be content: more than locks and labels.
const firstData = 100 << 10

// watchFirst looks, until it is called, at how much is below a folder, and returns the seconds after which there was content.
func watchFirst(b *testing.B, dir string) (stop func() float64) {
	began, before := time.Now(), treeSize(b, dir)
	done, first := make(chan struct{}), make(chan float64)
	go func() {
		took := 0.0
		for {
			if took == 0 && treeSize(b, dir) > before+firstData {
				took = time.Since(began).Seconds()
			}
			select {
			case <-done:
				first <- took
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() float64 {
		close(done)
		return <-first
	}
}

// copyFile puts a program where the unprivileged user can run it.
func copyFile(b *testing.B, from, to string) {
	b.Helper()
	in, err := os.Open(from)
	if err != nil {
		b.Fatalf("the built covetctl: %v (make bench-backup sets COVET_BIN)", err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, in.Close(), out.Close(), os.Chmod(to, 0o755)); err != nil {
		b.Fatal(err)
	}
}

func nowSeconds() float64 { return float64(time.Now().UnixNano()) / 1e9 }

// cpuOf is what a process, and those that it waited for, used.
func cpuOf(s *os.ProcessState) float64 { return (s.UserTime() + s.SystemTime()).Seconds() }

// stat reads the fields of /proc/PID/stat behind the name: field 3 is at 0.
func stat(pid int) (name string, fields []string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", nil
	}
	before, after, ok := strings.Cut(string(text), ") ")
	if !ok {
		return "", nil
	}
	_, name, _ = strings.Cut(before, "(")
	return name, strings.Fields(after)
}

// ticks adds up fields of stat, which count hundredths of a second.
func ticks(fields []string, at ...int) (s float64) {
	for _, i := range at {
		if i < len(fields) {
			n, err := strconv.ParseFloat(fields[i], 64)
			if err == nil {
				s += n / 100
			}
		}
	}
	return s
}

// childrenCPU is what the ended children of a process used.
func childrenCPU(pid int) float64 {
	_, fields := stat(pid)
	return ticks(fields, 13, 14)
}

// watchDetached looks, until it is called, at the processes with these names that lead a session of their own: their
// parents don't wait for them. It returns what they used as far as it was seen.
func watchDetached(names ...string) (stop func() float64) {
	done, sum := make(chan struct{}), make(chan float64)
	go func() {
		used := map[int]float64{}
		for {
			for _, pid := range processes() {
				name, fields := stat(pid)
				if len(fields) > 14 && slices.Contains(names, name) && fields[3] == strconv.Itoa(pid) {
					used[pid] = ticks(fields, 11, 12, 13, 14)
				}
			}
			select {
			case <-done:
				total := 0.0
				for _, s := range used {
					total += s
				}
				sum <- total
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() float64 {
		close(done)
		return <-sum
	}
}

func processes() (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// removeFrom removes the files below a folder whose names begin with name.
func removeFrom(dir, name string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(d.Name(), name) {
			return err
		}
		return os.Remove(path)
	})
}
