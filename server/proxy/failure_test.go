package proxy

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWarningsAreFewWhenEverythingFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := warner{to: slog.New(slog.NewTextHandler(&log, nil))}
		in := instances("v1", 1)[0]
		for range 1000 {
			l.failed(in, malformedAnswer(faulty("x")))
		}
		if n := strings.Count(log.String(), "\n"); n != 10 {
			t.Errorf("1000 failures in a second made %d lines", n)
		}
		time.Sleep(time.Second)
		l.failed(in, malformedAnswer(faulty("later")))
		if !strings.Contains(log.String(), "instance=v1-0 release=v1 code=bad_answer") || !strings.Contains(log.String(), "later") {
			t.Errorf("the log says %s", log.String())
		}
	})
}
