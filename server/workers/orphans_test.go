package workers

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The ways in which a worker's descendant can try to get away.
var escapes = []string{"child", "session", "cleared", "daemon"}

func TestDescendantsDieWithTheirWorker(t *testing.T) {
	t.Parallel()
	for _, escape := range escapes {
		for _, way := range []string{"stop", "kill"} {
			t.Run(escape+"/"+way, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				file := filepath.Join(t.TempDir(), "pid")
				spec := b.spec("v1", escape+"="+file)
				b.ensure(spec, 1)
				b.untilState(1, StateReady)
				pid := pidIn(t, file)
				if way == "stop" {
					b.ensure(spec, 0)
				} else if err := syscall.Kill(b.Instances()[0].PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				gone(t, pid) // not even a zombie
			})
		}
	}
}

// The descendants of one instance are not those of another.
func TestOtherInstancesDescendantsLive(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mine, theirs := filepath.Join(t.TempDir(), "pid"), filepath.Join(t.TempDir(), "pid")
	stops, stays := b.spec("v1", "daemon="+mine), b.spec("v2", "daemon="+theirs)
	b.ensure(stops, 1)
	b.ensure(stays, 1)
	b.untilState(2, StateReady)
	dies, lives := pidIn(t, mine), pidIn(t, theirs)
	b.ensure(stops, 0)
	gone(t, dies)
	if _, err := readProc(lives); err != nil {
		t.Errorf("the other release's process: %v", err)
	}
}

// Children that covetd starts for other purposes are reaped by those who started them, however many zombies are about.
func TestOtherChildrenAreNotReaped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ensure(b.spec("v1", "exit=1"), 4)
	for range 50 {
		cmd := exec.Command("/bin/sh", "-c", "exit 5")
		if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 5 {
			t.Fatalf("got %v", err)
		}
	}
	b.until("restarts", func(all []Instance) bool { return all[0].Restarts >= 3 })
}

// An adopted process that ends while its worker lives is reaped.
func TestAdoptedZombieIsReaped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "pid")
	b.ensure(b.spec("v1", "daemon="+file), 1)
	b.untilState(1, StateReady)
	pid := pidIn(t, file)
	eventually(t, "adopted", func() (bool, any) { p, err := readProc(pid); return err == nil && p.ppid == os.Getpid(), p })
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
	if i := b.Instances()[0]; i.Restarts != 0 || i.State != StateReady {
		t.Errorf("the worker: %+v", i)
	}
}

// covetd runs a supervisor in a process of its own, to be killed.
func covetd(t *testing.T, state string, n int, modes ...string) (*exec.Cmd, owner) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"covetd", state, fmt.Sprint(n)}, modes...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // most have ended
		_ = cmd.Wait()
	})
	o, err := thisOwner(state)
	if err != nil {
		t.Fatal(err)
	}
	p, err := readProc(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	o.pid, o.start = p.pid, p.start
	return cmd, o
}

// guardianOf finds a covetd's guardian: its only child that is no worker.
func guardianOf(t *testing.T, o owner) int {
	t.Helper()
	guardian := 0
	eventually(t, "a guardian", func() (bool, any) {
		err := suspects(func(s suspect) {
			cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.pid))
			if err == nil && s.ppid == o.pid && strings.HasSuffix(string(cmdline), "\x00guard\x00") {
				guardian = s.pid
			}
		})
		return guardian != 0, err
	})
	return guardian
}

func TestNothingOutlivesCovetd(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	for round := range 6 {
		dir := t.TempDir()
		var modes []string
		for _, escape := range escapes {
			modes = append(modes, escape+"="+filepath.Join(dir, escape))
		}
		cmd, o := covetd(t, state, 3, append(modes, "stubborn")...)
		if round%2 == 0 { // else it is killed while it starts
			for _, escape := range escapes {
				pidIn(t, filepath.Join(dir, escape))
			}
		} else {
			eventually(t, "a first worker", func() (bool, any) { return len(marked(o)) > 0, nil })
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		eventually(t, "nothing left", func() (bool, any) { left := marked(o); return len(left) == 0, left })
		t.Logf("nothing left after %s", time.Since(killed))
		for _, escape := range escapes {
			if b, err := os.ReadFile(filepath.Join(dir, escape)); err == nil {
				var pid int
				if _, err := fmt.Sscan(string(b), &pid); err != nil {
					t.Fatal(err)
				}
				dead(t, pid)
			}
		}
	}
}

func TestGuardianIsReplacedAndIgnoresSignals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "pid")
	cmd, o := covetd(t, dir, 1, "daemon="+file)
	pidIn(t, file)
	first := guardianOf(t, o)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(first, sig); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, first)
	guardianOf(t, o)
	if len(marked(o)) == 0 {
		t.Fatal("the guardian's death took the workers along")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing left", func() (bool, any) { left := marked(o); return len(left) == 0, left })
}

// covetd and its guardian are both killed: the next covetd ends what is left, and leaves a living one's workers alone.
func TestSweepOfADeadOwnersWorkers(t *testing.T) {
	t.Parallel()
	state, dir := t.TempDir(), t.TempDir()
	deadFile, liveFile := filepath.Join(dir, "dead"), filepath.Join(dir, "live")
	dead, deadOwner := covetd(t, state, 1, "daemon="+deadFile)
	_, liveOwner := covetd(t, state, 1, "daemon="+liveFile)
	orphan, kept := pidIn(t, deadFile), pidIn(t, liveFile)
	guardian := guardianOf(t, deadOwner)
	for _, pid := range []int{guardian, dead.Process.Pid} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := dead.Wait(); err == nil {
		t.Fatal("covetd was not killed")
	}
	if _, err := readProc(orphan); err != nil {
		t.Fatalf("the orphan went without a sweep, which then proves nothing: %v", err)
	}
	newBench(t, func(o *Options) { o.StateDir = state })
	if p, err := readProc(orphan); err == nil && !p.zombie {
		t.Error("the dead covetd's process survived the sweep")
	}
	if _, err := readProc(kept); err != nil {
		t.Errorf("the living covetd's process: %v", err)
	}
	if len(marked(liveOwner)) < 2 {
		t.Error("the living covetd's worker was killed")
	}
}

func TestGuardianHearsSessions(t *testing.T) {
	t.Parallel()
	g := &guard{owner: owner{state: "0123456789abcdef", pid: 7, start: 9}, sessions: map[int]uint64{1: 10, 2: 20}}
	told := map[int]uint64{}
	text := "owner " + g.owner.String() + "\n" + g.news(told)
	delete(g.sessions, 1)
	g.sessions[3] = 30
	text += g.news(told)
	w := newWard()
	if err := w.listen(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if w.owner != g.owner || len(w.sessions) != 2 || w.sessions[2] != 20 || w.sessions[3] != 30 {
		t.Errorf("the guardian knows %+v", w)
	}
	if g.news(told) != "" {
		t.Error("old news are told again")
	}
	for _, bad := range []string{"session x 1", "owner 1/2", "what", "gone"} {
		if err := newWard().listen(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}

func TestGuardianPrey(t *testing.T) {
	t.Parallel()
	o := owner{state: "0123456789abcdef", pid: 70, start: 100}
	other := owner{state: "0123456789abcdef", pid: 71, start: 100}
	w := &ward{owner: o, sessions: map[int]uint64{500: 200}}
	none := func() []string { return nil }
	cases := map[string]struct {
		s    suspect
		want bool
	}{
		"limit":               {suspect{proc: proc{sid: 1, start: 150}, mark: o.mark(3), env: none}, true},
		"limit, older":        {suspect{proc: proc{sid: 1, start: 50}, mark: o.mark(3), env: none}, false},
		"limit, other owner":  {suspect{proc: proc{sid: 1, start: 150}, mark: other.mark(3), env: none}, false},
		"session":             {suspect{proc: proc{sid: 500, start: 200}, env: none}, true},
		"older session":       {suspect{proc: proc{sid: 500, start: 199}, env: none}, false},
		"environment":         {suspect{proc: proc{sid: 1, start: 150}, env: func() []string { return []string{ownerVariable + "=" + o.String()} }}, true},
		"other's environment": {suspect{proc: proc{sid: 1, start: 150}, env: func() []string { return []string{ownerVariable + "=" + other.String()} }}, false},
		"stranger":            {suspect{proc: proc{sid: 1, start: 150}, env: none}, false},
	}
	for name, c := range cases {
		if got := w.prey(c.s); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestLeftover(t *testing.T) {
	t.Parallel()
	me := owner{state: "0123456789abcdef", pid: 70, start: 100}
	dead := owner{state: me.state, pid: 71, start: 50}
	stranger := owner{state: "fedcba9876543210", pid: 71, start: 50}
	alive := living{70: 100, 71: 0}
	none := func() []string { return nil }
	env := func(o owner) func() []string {
		return func() []string { return []string{ownerVariable + "=" + o.String()} }
	}
	cases := map[string]struct {
		s    suspect
		want bool
	}{
		"own":                  {suspect{proc: proc{start: 110}, mark: me.mark(1), env: none}, false},
		"dead, by limit":       {suspect{proc: proc{start: 60}, mark: dead.mark(1), env: none}, true},
		"dead, by environment": {suspect{proc: proc{start: 60}, env: env(dead)}, true},
		"number reused":        {suspect{proc: proc{start: 60}, mark: owner{state: me.state, pid: 70}.mark(1), env: none}, true},
		"other folder":         {suspect{proc: proc{start: 60}, env: env(stranger)}, false},
		"living":               {suspect{proc: proc{start: 110}, env: env(me)}, false},
		"no mark":              {suspect{proc: proc{start: 60}, env: none}, false},
	}
	for name, c := range cases {
		if got := leftover(me, c.s, alive.alive); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestKillProcSparesWhoGotTheNumber(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/proc/self/exe", "worker", "sleep")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := readProc(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	earlier := p
	earlier.start--
	if err := killProc(earlier); err != nil {
		t.Fatal(err)
	}
	if now, err := readProc(p.pid); err != nil || now.zombie {
		t.Fatal("another process was killed")
	}
	if err := killProc(p); err != nil {
		t.Fatal(err)
	}
	bufio.NewScanner(out).Scan() // until it is dead
	if err := cmd.Wait(); err == nil {
		t.Error("the process was not killed")
	}
}

func TestGuardianWithoutOwnerKillsNobody(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "guard") // in a process of its own: it changes how signals are taken
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "before it said who it is") {
		t.Errorf("got %v, %s", err, out)
	}
}
