package main

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const stat = "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 2 0 0 0 150 25 7 8 20 0 9 0 100 200 300"
	if d, err := parseStat(stat); err != nil || d != 1750*time.Millisecond {
		t.Errorf("got %v, %v", d, err)
	}
	for _, bad := range []string{"", "4242 (a) S 1", "4242 (a) S 1 2 3 4 5 6 7 8 9 10 x y 11"} {
		if d, err := parseStat(bad); err == nil {
			t.Errorf("%q was taken for %v", bad, d)
		}
	}
}

func TestTreeCPUOfThisProcess(t *testing.T) {
	t.Parallel()
	for end := time.Now().Add(10 * time.Second); ; { // burn until the clock of 10 ms ticks
		d, err := treeCPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if d > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no CPU time was counted")
		}
	}
}
