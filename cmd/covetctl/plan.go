package main

import (
	"slices"
	"strings"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
)

// showPlan shows what a command would do, and the command that does exactly that.
func (a *app) showPlan(plan console.Plan) error {
	return a.show(answer{value: plan, names: []string{plan.Hash}, page: func(p *page) {
		p.plan(plan)
		p.line("")
		p.line("To do exactly this: %s", p.Strong(exactly(a.args, plan.Hash)))
	}})
}

func (p *page) plan(plan console.Plan) {
	where := plan.Service
	if plan.Env != "" {
		where = plan.Env + "/" + plan.Service
	}
	p.line("%s", p.Strong(render.Clean(plan.Summary)))
	p.field("service", where)
	if plan.Duration > 0 {
		p.field("expected", "about "+plan.Duration.String()+", without waiting for approvals")
	}
	p.field("undo", render.Clean(plan.Undo))
	p.field("plan", plan.Hash)
	for _, w := range plan.Warnings {
		p.line("%s", p.Mark(render.Warn, render.Clean(w)))
	}
	p.line("")
	t := p.newTable(">", "STEP", "TOUCHES", ">ABOUT")
	for i, s := range plan.Steps {
		about := ""
		if s.Duration > 0 {
			about = s.Duration.String()
		}
		t.Row(itoa(i+1), render.Clean(s.Do), render.Clean(s.Touches), about)
	}
	p.table(t)
	p.changes(plan)
}

func (p *page) changes(plan console.Plan) {
	if len(plan.Changes) == 0 {
		return
	}
	p.line("")
	p.line("What %s changes:", plan.To)
	for _, c := range plan.Changes {
		p.line("  %s", render.Clean(c.Field))
		if c.From != "" {
			p.line("    %s", p.Paint(render.Bad, "- "+render.Clean(c.From)))
		}
		if c.To != "" {
			p.line("    %s", p.Paint(render.Good, "+ "+render.Clean(c.To)))
		}
	}
}

// exactly is the command line that was given, to be carried out only while the plan is still this one.
func exactly(args []string, hash string) string {
	out := []string{"covetctl"}
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	skip := false
	for _, arg := range args[:end] {
		switch {
		case skip:
			skip = false
		case arg == "--plan" || strings.HasPrefix(arg, "--plan=") || strings.HasPrefix(arg, "--plan-hash="):
		case arg == "--plan-hash":
			skip = true
		case arg == "plan" && out[len(out)-1] == "rollout":
			out = append(out, "start")
		default:
			out = append(out, quote(arg))
		}
	}
	out = append(out, "--plan-hash", hash)
	for _, arg := range args[end:] {
		out = append(out, quote(arg))
	}
	return strings.Join(out, " ")
}

// quote writes an argument as a shell reads it back.
func quote(arg string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=./:,@%+", r)
	}
	if arg != "" && strings.IndexFunc(arg, func(r rune) bool { return !plain(r) }) < 0 {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
