package restore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

const segSize = 1 << 20

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is the LSN in the middle of a segment.
func at(no uint64) backup.LSN { return backup.LSN(no*segSize + segSize/2) }

// world is an archive in which segment n, on whatever timeline, holds the commit of transaction 100+n, n minutes after
// the start, in its middle. Backup k begins in segment k and ends in segment k+1.
type world struct {
	archived *backup.Archived
	heads    []backup.Head
	doubts   map[string]string
}

func newWorld(last uint64, backups ...uint64) *world {
	w := &world{archived: &backup.Archived{Size: segSize, Segments: map[backup.Timeline][]backup.ArchivedSegment{}, Histories: map[backup.Timeline]backup.History{}}}
	for no := uint64(1); no <= last; no++ {
		w.add(1, no)
	}
	for _, no := range backups {
		w.backup(1, no)
	}
	return w
}

func (w *world) add(t backup.Timeline, no uint64) {
	w.archived.Segments[t] = append(w.archived.Segments[t], backup.ArchivedSegment{No: no, Object: backup.Object{Size: 10}})
}

func (w *world) backup(t backup.Timeline, no uint64) {
	w.heads = append(w.heads, backup.Head{
		ID: "b" + string(rune('0'+no)), Timeline: t, StartLSN: at(no), StopLSN: at(no+1) - 100, SegmentSize: segSize,
		Stopped: start.Add(time.Duration(no)*time.Minute + 30*time.Second),
	})
}

func (w *world) remove(t backup.Timeline, no uint64) {
	var left []backup.ArchivedSegment
	for _, s := range w.archived.Segments[t] {
		if s.No != no {
			left = append(left, s)
		}
	}
	w.archived.Segments[t] = left
}

// fork makes timeline t leave its parent behind the commit in segment no, and go on to last.
func (w *world) fork(t, parent backup.Timeline, no, last uint64) {
	h := append(backup.History{}, w.archived.Histories[parent]...)
	w.archived.Histories[t] = append(h, backup.Fork{Timeline: parent, End: at(no) + 100})
	for ; no <= last; no++ {
		w.add(t, no)
	}
}

func (w *world) plan(t Target, id string) (*Plan, error) {
	facts := func(_ context.Context, s backup.Segment, _ *backup.Segment) (backup.Facts, error) {
		m := backup.Mark{Kind: backup.MarkCommit, LSN: at(s.No), XID: uint32(100 + s.No), Time: start.Add(time.Duration(s.No) * time.Minute)}
		return backup.Facts{Marks: []backup.Mark{m}, Last: at(s.No)}, nil
	}
	return Make(context.Background(), Input{Heads: w.heads, Archived: w.archived, Facts: facts, Target: t, Backup: id, Doubts: w.doubts})
}

func minute(n float64) time.Time { return start.Add(time.Duration(n * float64(time.Minute))) }

func TestPlanPicksTheBackupForTheTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(9, 2, 5)
	for name, c := range map[string]struct {
		t       Target
		id      string
		backup  string
		reaches uint32
		last    uint64
	}{
		"latest":                {Target{}, "", "b5", 109, 9},
		"latest of an older":    {Target{}, "b2", "b2", 109, 9},
		"immediate":             {Target{Kind: Immediate}, "", "b5", 105, 6},
		"time behind both":      {Target{Kind: AtTime, Time: minute(7.5)}, "", "b5", 107, 8},
		"time of a commit":      {Target{Kind: AtTime, Time: minute(7)}, "", "b5", 107, 8},
		"just before it":        {Target{Kind: AtTime, Time: minute(7), Exclusive: true}, "", "b5", 106, 7},
		"time between backups":  {Target{Kind: AtTime, Time: minute(4.2)}, "", "b2", 104, 5},
		"lsn":                   {Target{Kind: AtLSN, LSN: at(8)}, "", "b5", 108, 8},
		"lsn before the second": {Target{Kind: AtLSN, LSN: at(4)}, "", "b2", 104, 4},
		"xid":                   {Target{Kind: AtXID, XID: 107}, "", "b5", 107, 7},
		"xid, exclusive":        {Target{Kind: AtXID, XID: 107, Exclusive: true}, "", "b5", 106, 7},
		"xid before the second": {Target{Kind: AtXID, XID: 104}, "", "b2", 104, 4},
	} {
		p, err := w.plan(c.t, c.id)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Backup.ID != c.backup || p.Reaches == nil || p.Reaches.XID != c.reaches || p.Segments[len(p.Segments)-1].No != c.last || p.Newest.XID != 109 {
			t.Errorf("%s: backup %s, reaches %+v, up to %s", name, p.Backup.ID, p.Reaches, p.Last)
		}
		next := at(uint64(p.Reaches.XID) - 99) // the next transaction
		if end := p.End(); end < p.Reaches.LSN || end > next {
			t.Errorf("%s: the log is said to be replayed to %s, and the last transaction is at %s", name, end, p.Reaches.LSN)
		}
	}
}

// A backup that is known to be damaged is passed over for an older one, unless none other leads there, or it is asked for; either is said.
func TestPlanPassesOverDoubtfulBackups(t *testing.T) {
	t.Parallel()
	w := newWorld(9, 2, 5)
	w.doubts = map[string]string{"b5": "b5 is damaged"}
	for _, c := range []struct {
		target   Target
		id, want string
		says     string
	}{
		{Target{}, "", "b2", "b5 is damaged: the one before it is used"},
		{Target{}, "b5", "b5", "b5 is damaged"},
		{Target{Kind: AtXID, XID: 104}, "", "b2", "b5 is damaged: the one before it is used"},
	} {
		p, err := w.plan(c.target, c.id)
		if err != nil || p.Backup.ID != c.want || strings.Join(p.Doubts, ",") != c.says {
			t.Errorf("%v from %q: %v, %+v", c.target, c.id, err, p)
		}
	}
	w.remove(1, 4)
	if p, err := w.plan(Target{}, ""); err != nil || p.Backup.ID != "b5" || strings.Join(p.Doubts, ",") != "b5 is damaged" {
		t.Errorf("where the sound one leads nowhere: %v, %+v", err, p)
	}
}

func TestPlanRefusesWhatCannotBeReached(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		w     *world
		t     Target
		wants []string
	}{
		"no backup":        {newWorld(5), Target{}, []string{"there is no backup"}},
		"before the first": {newWorld(9, 2, 5), Target{Kind: AtTime, Time: minute(1)}, []string{"b2 --immediate"}},
		"in the future":    {newWorld(9, 2), Target{Kind: AtTime, Time: minute(60)}, []string{"nearest reachable point is transaction 109"}},
		"lsn beyond":       {newWorld(9, 2), Target{Kind: AtLSN, LSN: at(12)}, []string{"transaction 109"}},
		"unknown xid":      {newWorld(9, 2), Target{Kind: AtXID, XID: 1}, []string{"transaction 109"}},
		"unknown timeline": {newWorld(9, 2), Target{Timeline: 3}, []string{"history of timeline 3"}},
	} {
		_, err := c.w.plan(c.t, "")
		var u *UnreachableError
		if !errors.As(err, &u) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q isn't in: %v", name, want, err)
			}
		}
	}
}

// A hole in the log is named, whatever the target behind it, and what lies before it and after the next backup is fine.
func TestPlanSeesHoles(t *testing.T) {
	t.Parallel()
	w := newWorld(12, 2, 8)
	w.remove(1, 6)
	for _, target := range []Target{{Kind: AtTime, Time: minute(7)}, {Kind: AtLSN, LSN: at(7)}, {Kind: AtXID, XID: 107}} {
		_, err := w.plan(target, "")
		if err == nil || !strings.Contains(err.Error(), "000000010000000000000006 is missing") || !strings.Contains(err.Error(), "transaction 105") {
			t.Errorf("%v: %v", target, err)
		}
	}
	if _, err := w.plan(Target{}, "b2"); err == nil {
		t.Error("the latest from before the hole is accepted, and would lose what is behind it")
	}
	for _, target := range []Target{{Kind: AtXID, XID: 105}, {Kind: AtXID, XID: 111}, {}} {
		if _, err := w.plan(target, ""); err != nil {
			t.Errorf("%v: %v", target, err)
		}
	}
	gaps, err := Gaps(w.heads, w.archived)
	if err != nil || len(gaps) != 1 || gaps[0].First != "000000010000000000000006" || gaps[0].Segments != 1 {
		t.Errorf("%+v %v", gaps, err)
	}
}

// A backup without all of its own WAL isn't used.
func TestPlanWantsTheBackupsOwnWAL(t *testing.T) {
	t.Parallel()
	w := newWorld(6, 2, 5)
	w.remove(1, 6)
	p, err := w.plan(Target{Kind: Immediate}, "")
	if err != nil || p.Backup.ID != "b2" {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := w.plan(Target{Kind: Immediate}, "b5"); err == nil {
		t.Error("b5 is used")
	}
}

func TestPlanFollowsTimelines(t *testing.T) {
	t.Parallel()
	w := newWorld(9, 2)
	w.fork(2, 1, 5, 11)
	w.fork(3, 2, 8, 8)
	for name, c := range map[string]struct {
		t    Target
		tli  backup.Timeline
		want []backup.Timeline // of the segments from 2 on
	}{
		"newest": {Target{}, 3, []backup.Timeline{1, 1, 1, 2, 2, 2, 3}},
		"second": {Target{Timeline: 2}, 2, []backup.Timeline{1, 1, 1, 2, 2, 2, 2, 2, 2, 2}},
		"first":  {Target{Timeline: 1}, 1, []backup.Timeline{1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		p, err := w.plan(c.t, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []backup.Timeline
		for _, s := range p.Segments {
			got = append(got, s.Timeline)
		}
		if p.Timeline != c.tli || len(got) != len(c.want) {
			t.Errorf("%s: timeline %d, segments on %v", name, p.Timeline, got)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: segments on %v, want %v", name, got, c.want)
				break
			}
		}
	}
	// A backup of the abandoned end of timeline 1 doesn't lie on the way to timeline 2.
	w.backup(1, 7)
	p, err := w.plan(Target{Timeline: 2}, "")
	if err != nil || p.Backup.ID != "b2" {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := w.plan(Target{Timeline: 2}, "b7"); err == nil {
		t.Error("a backup of an abandoned branch is used")
	}
	if gaps, err := Gaps(w.heads, w.archived); err != nil || len(gaps) != 0 {
		t.Errorf("gaps: %+v %v", gaps, err)
	}
}

// A segment of which only the beginning is there ends the log; where later ones follow, it is a hole.
func TestPlanWithALiveSegment(t *testing.T) {
	t.Parallel()
	w := newWorld(7, 2)
	w.archived.Segments[1][6].Live = true
	p, err := w.plan(Target{}, "")
	if err != nil || p.Reaches.XID != 107 {
		t.Errorf("%+v %v", p, err)
	}
	w.add(1, 8)
	if _, err := w.plan(Target{}, ""); err == nil || !strings.Contains(err.Error(), "000000010000000000000007 is missing") {
		t.Errorf("with a later segment: %v", err)
	}
	if gaps, err := Gaps(w.heads, w.archived); err != nil || len(gaps) != 1 {
		t.Errorf("gaps: %v %v", gaps, err)
	}
}
