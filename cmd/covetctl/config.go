package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
)

func (a *app) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use: "check", Short: "Check that covetctl can do its work", Args: none,
		Long: "Check the socket, the permissions on it, that covetd answers, that both are of one version, and the data directory " +
			"that is used when covetd is down. On Kubernetes, check the cluster, the permissions, and whether a controller runs. " +
			"The exit status is 0 unless covetd or the cluster cannot be reached.",
		Example: "covetctl config check\ncovetctl config check --socket /run/covet/covetd.sock -o json",
		RunE:    func(c *cobra.Command, _ []string) error { return a.configCheck(c.Context()) },
	}
	return a.group(&cobra.Command{Use: "config", Short: "Check how covetctl is set up"}, check)
}

// check is one thing that was looked at.
type check struct {
	What   string `json:"check"`
	Result string `json:"result"` // ok, warning or failed
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

var checkTones = map[string]render.Tone{"ok": render.Good, "warning": render.Warn, "failed": render.Bad}

func (a *app) configCheck(ctx context.Context) error {
	var checks []check
	var failure error
	if t, ok, err := a.target(); ok || err != nil {
		checks, failure = a.checkCluster(ctx, t, err)
	} else {
		checks, failure = a.checkCovetd(ctx)
		checks = append(checks, a.checkDataDir())
	}
	err := a.show(answer{value: checks, page: func(p *page) { p.checks(checks) }})
	if err != nil {
		return err
	}
	return failure
}

func (p *page) checks(checks []check) {
	t := p.newTable("CHECK", "RESULT", "DETAIL")
	for _, c := range checks {
		t.Row(c.What, p.Mark(checkTones[c.Result], c.Result), render.Clean(c.Detail))
		if c.Hint != "" {
			t.Row("", "", p.Arrow()+" "+render.Clean(c.Hint))
		}
	}
	p.table(t)
}

func (a *app) checkCovetd(ctx context.Context) ([]check, error) {
	path, _ := a.socket()
	out := []check{a.checkSocket(path)}
	port, err := a.connect(ctx)
	if err != nil {
		return append(out, failed("covetd", err)), err
	}
	began := a.now()
	st, err := ask[console.Status](ctx, a, port, console.GetStatus, console.Query{})
	if err != nil {
		return append(out, failed("covetd", err)), err
	}
	out = append(out, check{"covetd", "ok", fmt.Sprintf("pid %d answers for %s in %s", st.PID, st.Service, a.now().Sub(began).Round(10e3)), ""})
	version := check{"version", "ok", "covetctl and covetd are both " + st.Version, ""}
	if own := a.parts.build.Version; own != st.Version {
		version = check{"version", "warning", fmt.Sprintf("covetctl is %s, covetd is %s", own, st.Version), "use the covetctl of the same version: what one of them does not know, the other cannot ask for"}
	}
	return append(out, version), nil
}

func (a *app) checkSocket(path string) check {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return check{"socket", "failed", fmt.Sprintf("%s: %v", path, unwrapPath(err)), "covetd makes it when it starts"}
	case info.Mode()&os.ModeSocket == 0:
		return check{"socket", "failed", path + " is not a socket", "name covetd's with --socket or COVET_SOCKET"}
	case info.Mode().Perm()&0o007 != 0:
		return check{"socket", "warning", fmt.Sprintf("%s (%s): every user of this machine may use it", path, info.Mode()), "chmod o= " + quote(path)}
	}
	return check{"socket", "ok", fmt.Sprintf("%s (%s)", path, info.Mode()), ""}
}

func (a *app) checkDataDir() check {
	const use = "covetctl rollback needs it when covetd is down: name it with --data-dir or COVET_DATA_DIR"
	dir := a.dataDir()
	if dir == "" {
		return check{"data", "warning", "no data directory at the usual places", use}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return check{"data", "warning", fmt.Sprintf("%s: %v", dir, unwrapPath(err)), use}
	}
	return check{"data", "ok", fmt.Sprintf("%s (%d entries)", dir, len(entries)), ""}
}

func failed(what string, err error) check {
	c := check{What: what, Result: "failed", Detail: err.Error()}
	if e, ok := asConsole(err); ok {
		c.Detail, c.Hint = e.Message, e.Hint
	}
	return c
}
