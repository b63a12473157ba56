package pgtest

import (
	"testing"
	"time"
)

// Eventually waits until a condition holds, and fails the test when it doesn't within 60 s.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("waited 60 s, and still not: %s", what)
		}
	}
}
