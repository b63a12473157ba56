package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/covetpy/covet/ops/rollout"
)

// Each kind of release that cannot serve is named for what it is, and costs nobody a request.
func TestABadReleaseIsNamedAndTheOldOneServesOn(t *testing.T) {
	t.Parallel()
	p := serving(t, 2)
	l := p.crowd()
	quick := []string{"--ready-timeout=2s"}
	cases := []struct {
		version string
		add     []string // flags of release add
		command []string
		says    []string
	}{
		{"exits", []string{"--env", "SHOP_EXIT_AT_START=3"}, []string{built.shop}, []string{"exited with status 3", "SHOP_EXIT_AT_START"}},
		{"never-listens", quick, []string{"sh", "-c", "echo warming up; exec sleep 600"}, []string{"did not listen on 127.0.0.1", "$PORT", "warming up"}},
		{"hangs", append(quick, "--env", "SHOP_HANG=1"), []string{built.shop}, []string{"not ready within 2s", "timed out after 1s"}},
		{"answers-500", append(quick, "--env", "SHOP_ERROR_RATE=1", "--ready-path", "/api/products"), []string{built.shop},
			[]string{"answered 500", "SHOP_ERROR_RATE"}},
		{"not-ready", append(quick, "--env", "SHOP_NOT_READY=1"), []string{built.shop}, []string{"answered 503"}},
		{"wrong-shell", nil, []string{"sh", "-c", "exec /no/such/program"}, []string{"exited with status 127", "/no/such/program"}},
	}
	for i, c := range cases {
		p.must(0, append(append([]string{"release", "add", c.version, "--instances", "2"}, c.add...), append([]string{"--"}, c.command...)...)...)
		strategy := string(rollout.Strategies()[i%3])
		a := p.must(5, "rollout", "start", c.version, "--strategy", strategy, "--bake", "0s", "--watch")
		if !a.says(append(c.says, "v1.0.0")...) {
			t.Errorf("%s by %s: want %q in what covetctl says:\n%s", c.version, strategy, c.says, a)
		}
		p.awaitOne("v1.0.0")
	}
	l.stop()
}

// A release that dies of its requests loses its traffic. What it dies with is lost; nothing else is.
func TestACrashingReleaseIsRolledBack(t *testing.T) {
	t.Parallel()
	p := serving(t, 2)
	p.shop("v1.1.0", 2, "SHOP_CRASH_AFTER=20")
	knock := p.knock()
	defer knock()
	a := p.must(5, "rollout", "start", "v1.1.0", "--strategy", "canary", "--weights", "50,100", "--bake", "30s", "--watch")
	if !a.says("v1.1.0", "SHOP_CRASH_AFTER") && !a.says("P0") {
		t.Errorf("want the crash named: %s", a)
	}
	p.awaitOne("v1.0.0")
}

// What cannot be started is refused before anything is touched.
func TestACommandThatCannotBeRunIsRefused(t *testing.T) {
	t.Parallel()
	p := serving(t, 1)
	folder := t.TempDir()
	plain := filepath.Join(folder, "notes.txt")
	writeFile(t, plain, "no program", 0o600)
	for _, c := range []struct {
		command string
		says    []string
	}{
		{filepath.Join(folder, "missing"), []string{"missing", "no such file"}},
		{"no-such-program-anywhere", []string{"no-such-program-anywhere", "PATH"}},
		{folder, []string{folder, "is a directory"}},
		{plain, []string{"not executable", "chmod +x"}},
	} {
		a := p.must(2, "release", "add", "v9.9.9", "--", c.command)
		if !a.says(c.says...) {
			t.Errorf("release add -- %s: want %q in %s", c.command, c.says, a)
		}
	}
	program := filepath.Join(folder, "shop")
	raw, err := os.ReadFile(built.shop)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, program, string(raw), 0o700)
	p.must(0, "release", "add", "v1.1.0", "--env", "SHOP_VERSION=v1.1.0", "--", program)
	next := program + ".next"
	writeFile(t, next, string(raw)+"another build", 0o700)
	if err := os.Rename(next, program); err != nil {
		t.Fatal(err)
	}
	if a := p.must(1, "rollout", "start", "v1.1.0", "--watch"); !a.says(program, "was replaced") {
		t.Errorf("a program that was replaced: %s", a)
	}
	remove(t, program)
	if a := p.must(1, "rollout", "start", "v1.1.0", "--watch"); !a.says(program, "does not exist") {
		t.Errorf("a program that was removed: %s", a)
	}
	if n := len(p.history()); n != 0 {
		t.Errorf("%d rollouts began, want none", n)
	}
	p.awaitOne("v1.0.0")
}

// Where there is nothing to go back to, the exit status says that people must act.
func TestAFailureThatCannotBeUndoneSaysSo(t *testing.T) {
	t.Parallel()
	p := empty(t)
	p.shop("v0.9.0", 1, "SHOP_EXIT_AT_START=3")
	if a := p.must(8, "rollout", "start", "v0.9.0", "--watch"); !a.says("NOT rolled back", "exited with status 3") {
		t.Errorf("a first release that does not start: %s", a)
	}
	p.shop("v1.0.0", 1)
	p.must(0, "rollout", "start", "v1.0.0", "--bake", "0s", "--watch")
	if a := p.must(8, "rollback", "--to", "v0.9.0", "--force", "--reason", "to see it fail"); !a.says("NOT rolled back", "v1.0.0 stays in charge") {
		t.Errorf("a rollback to a release that does not start: %s", a)
	}
	p.awaitOne("v1.0.0")
	if a := p.must(1, "rollback", "--to", "v0.9.0"); !a.says("quarantined", "--force") {
		t.Errorf("a rollback to a quarantined release: %s", a)
	}
}

func writeFile(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}
