package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	disktest "github.com/covetpy/covet/test/disk"
)

// fill writes until nothing more fits, and returns how to free it again.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

func TestCovetdDoesNotStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := disktest.Small(t, "1m")
	free := fill(t, dir)
	p := placeAt(t, dir, "APP_COMMAND="+built.shop, "APP_WORKERS=1")
	p.start()
	if code := p.awaitEnd(30 * time.Second); code != 1 {
		t.Errorf("covetd ended with %d, want 1", code)
	}
	if said := p.log.String(); !strings.Contains(said, dir) || !strings.Contains(said, "no space left") || strings.Contains(said, "panic") {
		t.Errorf("the full disk is not named:\n%s", said)
	}
	free()
	p.start()
	p.awaitReady()
	p.awaitOne("v0")
}

// A disk that fills up halfway stops the rollout where it is, and nothing else.
func TestADiskThatFillsUpStopsTheRolloutAndNotTheTraffic(t *testing.T) {
	t.Parallel()
	p := placeAt(t, disktest.Small(t, "2m"), "APP_COMMAND="+built.shop, "APP_VERSION=v1.0.0", "APP_WORKERS=2", "APP_ENV=SHOP_VERSION=v1.0.0")
	p.start()
	p.awaitReady()
	p.shop("v1.1.0", 2)
	l := p.crowd()
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "canary", "--weights", "50,100", "--bake", "8s", "--keep", "0s")
	p.await(30*time.Second, "half of the traffic has moved", func() bool { return p.status().Weights["v1.1.0"] == 50 })
	free := fill(t, p.dir)
	var full answer
	for n := 0; full.code == 0 && n < 200; n++ { // the journal has some room of its own
		full = p.run("incident", "open", "--severity", "P3", "--reason", strings.Repeat("the disk is full; ", 50))
	}
	if full.code != 1 || !full.says("no space left", "data directory", "space") {
		t.Errorf("a command that cannot be written down: %s", full)
	}
	p.await(60*time.Second, "status names the full disk", func() bool { return p.must(0, "status").says("cannot go on", "no space left") })
	if st := p.status(); st.Rollout == nil || st.Weights["v1.1.0"] != st.Rollout.Weight {
		t.Errorf("the weights are %v, but the journal says %+v", st.Weights, st.Rollout)
	}
	free()
	p.awaitOne("v1.1.0")
	l.stop()
	if problems := p.status().Problems; strings.Contains(strings.Join(problems, "\n"), "cannot go on") {
		t.Errorf("with space again there are problems still: %q", problems)
	}
}

// A journal that a disk has damaged is named by both programs, which do nothing by it.
func TestADamagedJournalIsNamed(t *testing.T) {
	t.Parallel()
	p := serving(t, 1)
	p.kill()
	name := filepath.Join(p.dir, "journal.db")
	if err := os.Truncate(name, 9000); err != nil {
		t.Fatal(err)
	}
	p.start()
	if code := p.awaitEnd(30 * time.Second); code != 1 {
		t.Errorf("covetd ended with %d, want 1", code)
	}
	if said := p.log.tail(1); !strings.Contains(said, "the journal is damaged") || !strings.Contains(said, name) {
		t.Errorf("the damage is not named:\n%s", said)
	}
	if a := p.must(1, "status"); !a.says("the journal is damaged", name) {
		t.Errorf("status: %s", a)
	}
}
