package backupcmd

import (
	"bytes"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// A program hears of what takes two hours each second, a person not as often, but never less than twice a minute, and of every phase.
func TestProgressIsTold(t *testing.T) {
	for format, want := range map[string][2]int{"json": {7000, 7300}, "table": {240, 420}} {
		var out bytes.Buffer
		tell := (&output{format: format}).progress(&out)
		const total = 7200
		for s := range total * 4 {
			at := time.Duration(s) * time.Second / 4
			phase := "copy"
			if s > total*4-10 {
				phase = "wal"
			}
			tell(backup.Progress{Phase: phase, Done: int64(s) << 20, Total: total * 4 << 20, Elapsed: at})
		}
		if n := bytes.Count(out.Bytes(), []byte("\n")); n < want[0] || n > want[1] {
			t.Errorf("%s: %d lines", format, n)
		}
		if !bytes.Contains(out.Bytes(), []byte("wal")) {
			t.Errorf("%s: the last phase is not told", format)
		}
	}
}
