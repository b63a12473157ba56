package main

import (
	"fmt"
	"time"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/recovery"
)

// recovery is how recoverable the database is, in two lines.
func (p *page) recovery(s *recovery.Summary) {
	if s.At.IsZero() {
		p.line("%s", p.Mark(render.Bad, "RPO, RTO and backups unknown: "+render.Clean(s.Unknown)))
		return
	}
	p.line("%s · %s", p.measure("RPO", s.RPO), p.measure("RTO", s.RTO))
	backups := fmt.Sprintf("backups %d", s.Backups)
	if !s.Backup.IsZero() {
		backups += fmt.Sprintf(", the last %s", p.age(s.Backup))
	}
	if !s.From.IsZero() {
		backups += fmt.Sprintf(" · every moment since %s can be restored to", s.From.UTC().Format("2006-01-02 15:04:05Z"))
	}
	if s.Gaps > 0 {
		backups += p.Paint(render.Bad, fmt.Sprintf(" but for %d gaps", s.Gaps))
	}
	if d := s.Drill; d != nil {
		word := p.Paint(render.Good, "passed")
		if !d.Passed {
			word = p.Paint(render.Bad, "FAILED")
		}
		backups += fmt.Sprintf(" · drill %s %s", word, p.age(d.At))
	} else {
		backups += " · never drilled"
	}
	p.line("%s", backups)
	if s.Unknown != "" {
		p.line("%s", p.Mark(render.Warn, fmt.Sprintf("the repository does not answer: this is of %s (%s)", p.age(s.At), render.Clean(s.Unknown))))
	}
}

// measure is one objective in words.
func (p *page) measure(name string, m recovery.Measure) string {
	if !m.Known {
		return p.Mark(render.Bad, name+" unknown: "+render.Clean(m.Basis))
	}
	tone := render.Good
	if m.Over {
		tone = render.Bad
	}
	return p.Mark(tone, fmt.Sprintf("%s %s of %s (%s)", name, m.Now.Std().Round(time.Second), m.Limit, render.Clean(m.Basis)))
}
