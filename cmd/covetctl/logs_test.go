package main

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/covetpy/covet/ops/console"
)

// tails is a port whose streams of logs break off, one after the other.
type tails struct {
	*fake
	streams []tail
	asked   []console.LogQuery
}

type tail struct {
	lines []console.LogLine
	err   error
}

func (p *tails) Logs(_ context.Context, q console.LogQuery) iter.Seq2[console.LogLine, error] {
	p.asked = append(p.asked, q)
	s := p.streams[min(len(p.asked), len(p.streams))-1]
	return func(yield func(console.LogLine, error) bool) {
		for _, l := range s.lines {
			if !yield(l, nil) {
				return
			}
		}
		if s.err != nil {
			yield(console.LogLine{}, s.err)
		}
	}
}

// covetd is killed, hands over, ends: whoever follows the logs sees what comes next, every line once.
func TestFollowedLogsOutliveCovetd(t *testing.T) {
	t.Parallel()
	gone := &console.Error{Code: console.CodeUnreachable, Message: "lost the connection"}
	said := func(seq int64, text string) console.LogLine {
		return console.LogLine{Seq: seq, At: noon, Release: "v1", Instance: "v1-1", Stream: "stdout", Text: text}
	}
	port := &tails{fake: answering(), streams: []tail{
		{[]console.LogLine{said(7, "one"), said(8, "two")}, gone},
		{nil, gone},
		{[]console.LogLine{said(9, "three")}, nil},
		{nil, &console.Error{Code: console.CodeDenied, Message: "not for you"}},
	}}
	got := ctl(t, port, "logs", "-f", "-n", "5", "--release", "v1")
	if got.code != 1 || strings.Count(got.out, "\n") != 3 || strings.Count(got.err, "trying again") != 2 || !strings.Contains(got.err, "connected again") {
		t.Errorf("%+v", got)
	}
	want := []console.LogQuery{{Release: "v1", Lines: 5, Follow: true}, {Release: "v1", After: 8, Follow: true},
		{Release: "v1", After: 8, Follow: true}, {Release: "v1", After: 9, Follow: true}}
	if !slices.Equal(port.asked, want) {
		t.Errorf("asked %+v", port.asked)
	}
	never := &tails{fake: answering(), streams: []tail{{nil, gone}}}
	if got := ctl(t, never, "logs", "-f"); got.code != 6 || len(never.asked) != 1 {
		t.Errorf("without covetd: %+v after %d attempts", got, len(never.asked))
	}
	once := &tails{fake: answering(), streams: []tail{{[]console.LogLine{said(7, "one")}, errors.New("cut")}}}
	if got := ctl(t, once, "logs"); got.code == 0 || len(once.asked) != 1 {
		t.Errorf("without -f: %+v after %d attempts", got, len(once.asked))
	}
}
