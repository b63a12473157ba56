package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/covetpy/covet/test/kubetest"
)

// The demonstration is the end-to-end test of all strategies: with the built covetctl, on a real node where there can be one, no
// request fails while it rolls, switches, shifts, is rolled back and goes back.
func TestPlay(t *testing.T) {
	simulated := false
	if err := kubetest.RealPossible(); err != nil {
		t.Logf("the pods are simulated, and no traffic is sent: %v", err)
		simulated = true
	}
	if err := run(t.Context(), programs(t), simulated, false); err != nil {
		t.Fatal(err)
	}
}

// programs is the folder of covetctl: the one that `make test` has built, or a new one.
func programs(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("COVET_BIN"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "covetctl"), "../../cmd/covetctl").CombinedOutput(); err != nil {
		t.Fatalf("build covetctl: %v\n%s", err, out)
	}
	return dir
}
