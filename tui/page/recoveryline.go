package page

import (
	"fmt"

	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// recoverable is what is known of how recoverable the database is: the newest look, or else what the service's status says; nil:
// nothing is.
func recoverable(c Context) *recovery.Summary {
	if c.Snap.Recovery != nil {
		return c.Snap.Recovery.Summary()
	}
	return c.Snap.Status.Recovery
}

// looksAfterBackups says whether anything is known of backups, or why not.
func looksAfterBackups(c Context) bool { return recoverable(c) != nil || c.Snap.RecoveryProblem != "" }

// drawRecoveryLine says in one line how recoverable the database is: the verdict first, then what it is from, so that what a narrow
// terminal cuts off matters least.
func drawRecoveryLine(r widget.Region, c Context) {
	x := r.Put(1, 0, theme.Muted, "recovery ")
	s := recoverable(c)
	if s == nil {
		r.PutCut(x, 0, r.W-x, theme.Muted, c.G.Unknown+" unknown: "+c.Snap.RecoveryProblem, c.G.Ellipsis)
		return
	}
	verdict := summarySign(s, c)
	x = r.PutCut(x, 0, r.W-x, verdict.role, verdict.String(), c.G.Ellipsis)
	put := func(role theme.Role, text string) {
		if x < r.W {
			x = r.PutCut(x, 0, r.W-x, theme.Muted, " "+c.G.Dot+" ", c.G.Ellipsis)
			x = r.PutCut(x, 0, r.W-x, role, text, c.G.Ellipsis)
		}
	}
	if !s.Backup.IsZero() {
		put(theme.Text, "backup "+since(s.Backup, c.Now))
	}
	put(measureWords("RPO", s.RPO))
	put(measureWords("RTO", s.RTO))
	put(drillWords(s.Drill, c))
	put(theme.Muted, "4 shows more")
}

func summarySign(s *recovery.Summary, c Context) sign {
	switch {
	case s.Unknown == "" && s.From.IsZero():
		return sign{c.G.Bad, "NOT RECOVERABLE", theme.Bad}
	case s.RPO.Over || s.RTO.Over:
		return sign{c.G.Bad, "objectives missed", theme.Bad}
	case s.Unknown != "" || c.Snap.RecoveryProblem != "":
		return sign{c.G.Unknown, "unknown", theme.Warn}
	case s.Gaps > 0:
		return sign{c.G.Warn, widget.Plural(s.Gaps, "gap"), theme.Warn}
	}
	return sign{c.G.OK, "as promised", theme.OK}
}

// measureWords is an objective as short as it can be.
func measureWords(name string, m recovery.Measure) (theme.Role, string) {
	if !m.Known {
		return theme.Bad, name + " unknown"
	}
	role := theme.Text
	if m.Over {
		role = theme.Bad
	}
	return role, fmt.Sprintf("%s %s of %s", name, widget.Age(m.Now.Std()), widget.Age(m.Limit.Std()))
}

// drillWords is when a restore was tried out last.
func drillWords(d *recovery.Drilled, c Context) (theme.Role, string) {
	switch {
	case d == nil:
		return theme.Warn, "never drilled"
	case !d.Passed:
		return theme.Bad, "drill " + since(d.At, c.Now) + " FAILED"
	}
	return theme.Text, "drill " + since(d.At, c.Now)
}
