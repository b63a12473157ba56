package pgtest

import (
	"testing"
	"time"
)

// Eventually waits until a condition holds, and fails the test when it doesn't within 60 s.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	Within(tb, time.Minute, what, ok)
}

// Within is Eventually with another limit, for what takes long under the race detector.
func Within(tb testing.TB, limit time.Duration, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("waited %s, and still not: %s", limit, what)
		}
	}
}
