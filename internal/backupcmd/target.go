package backupcmd

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// targetFlags say to which point to restore.
type targetFlags struct {
	time, lsn, xid, name, timeline string
	immediate, exclusive           bool
}

func (f *targetFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.time, "target-time", "", `the last moment to include, such as "2026-03-01 13:57:48Z" or RFC 3339; local time without a zone`)
	fs.StringVar(&f.lsn, "target-lsn", "", "the log position to reach, such as 16/B374D848")
	fs.StringVar(&f.xid, "target-xid", "", "the transaction to reach")
	fs.StringVar(&f.name, "target-name", "", "the restore point to reach, made with pg_create_restore_point")
	fs.BoolVar(&f.immediate, "immediate", false, "stop as soon as the backup is consistent")
	fs.BoolVar(&f.exclusive, "exclusive", false, "stop just before the target instead of just behind it")
	fs.StringVar(&f.timeline, "timeline", "", "timeline to follow; default the newest")
	cmd.MarkFlagsMutuallyExclusive("target-time", "target-lsn", "target-xid", "target-name", "immediate")
}

// target reads the flags.
func (f *targetFlags) target() (t restore.Target, err error) {
	t.Exclusive = f.exclusive
	switch {
	case f.immediate:
		t.Kind = restore.Immediate
	case f.time != "":
		t.Kind = restore.AtTime
		t.Time, err = parseTime(f.time)
	case f.lsn != "":
		t.Kind = restore.AtLSN
		t.LSN, err = backup.ParseLSN(f.lsn)
	case f.xid != "":
		t.Kind = restore.AtXID
		var n uint64
		if n, err = strconv.ParseUint(f.xid, 10, 32); err != nil {
			err = fmt.Errorf("--target-xid %q is not a transaction number", f.xid)
		}
		t.XID = uint32(n)
	case f.name != "":
		t.Kind, t.Name = restore.AtName, f.name
	case f.exclusive:
		err = errors.New("--exclusive needs a target")
	}
	if err == nil && f.timeline != "" {
		var n uint64
		if n, err = strconv.ParseUint(f.timeline, 10, 32); err != nil || n == 0 {
			err = fmt.Errorf("--timeline %q is not a timeline: write its number, such as 2", f.timeline)
		}
		t.Timeline = backup.Timeline(n)
	}
	if err != nil {
		return t, usage(err)
	}
	return t, nil
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02 15:04:05.999999Z07:00", "2006-01-02 15:04:05.999999-07",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"2006-01-02 15:04:05.999999", "2006-01-02T15:04:05.999999", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf(`--target-time %q: write it as "2006-01-02 15:04:05Z" or with another zone`, s)
}
