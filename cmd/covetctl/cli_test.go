package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	cases := []struct {
		err  error
		code int
	}{
		{nil, 0},
		{&console.Error{Code: console.CodeRefused, Message: "no"}, 1},
		{&console.Error{Code: console.CodeNotFound, Message: "no"}, 1},
		{&console.Error{Code: console.CodeDenied, Message: "no"}, 1},
		{&console.Error{Code: console.CodeInternal, Message: "no"}, 1},
		{errors.New("anything"), 1},
		{&console.Error{Code: console.CodeUsage, Message: "no"}, 2},
		{&console.Error{Code: console.CodeStalePlan, Message: "no"}, 3},
		{&console.Error{Code: console.CodeWaiting, Message: "no"}, 4},
		{&console.Error{Code: console.CodeRolledBack, Message: "no"}, 5},
		{&console.Error{Code: console.CodeUnreachable, Message: "no"}, 6},
		{&console.Error{Code: console.CodeLocked, Message: "no"}, 7},
		{&console.Error{Code: console.CodeNotRolledBack, Message: "no"}, 8},
	}
	documented := map[int]bool{}
	for _, e := range exits() {
		documented[e.code] = true
	}
	for _, tc := range cases {
		port := answering()
		if tc.err != nil {
			port.do[console.PauseRollout] = tc.err
		}
		got := ctl(t, port, "rollout", "pause")
		if got.code != tc.code {
			t.Errorf("%#v: exit %d, want %d", tc.err, got.code, tc.code)
		}
		if !documented[got.code] {
			t.Errorf("exit %d is not documented", got.code)
		}
		if tc.err != nil && (got.out != "" || got.err == "") {
			t.Errorf("%v: stdout %q, stderr %q", tc.err, got.out, got.err)
		}
	}
}

func TestErrorsSayWhatWhyAndTheWayOut(t *testing.T) {
	t.Parallel()
	port := answering()
	port.do[console.PauseRollout] = &console.Error{Code: console.CodeLocked, Message: "held by \x1b[2Jada\nand bob", Hint: "wait\x07"}
	if got := ctl(t, port, "rollout", "pause"); got.err != "✗ held by ada\n  and bob\n  → wait\n" {
		t.Errorf("%q", got.err)
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"statsu":                                   "did you mean `covetctl status`?",
		"rollout stort v1":                         "did you mean `covetctl rollout start`?",
		"bogus":                                    "covetctl has no command \"bogus\"",
		"rollout start":                            "name one version",
		"rollout start v1 v2":                      "name one version",
		"rollout start v1 --weights 50,10":         "ascending",
		"rollout start v1 --weights 1,50":          "the last one must be 100",
		"rollout start v1 --strategy big-bang":     "choose one of canary, rolling, blue-green",
		"rollout start v1 --bake soon":             "invalid argument \"soon\"",
		"rollout start v1 --nonsense":              "unknown flag: --nonsense",
		"rollout pause r-1 r-2":                    "name one at most",
		"rollback v1 --to v2":                      "name one version",
		"status now":                               "takes no argument",
		"status -o xml":                            "choose table, json or yaml",
		"release add":                              "name one version",
		"release add v1":                           "no command to run",
		"release add v1 --artifact ./x -- ./y":     "not both",
		"release add v1 -- /no/such/file":          "no such file",
		"release add v1 -- no-such-program-at-all": "no program \"no-such-program-at-all\" in PATH",
		"release add v1 --dir /no/such -- true":    "--dir /no/such",
		"release add v1 --env =x -- true":          "is not NAME=VALUE",
		"release add v1 --env-file /no -- true":    "--env-file /no",
		"release add v!1 -- true":                  "version \"v!1\"",
		"release add v1 -e PORT=1 -- true":         "a port of its own",
		"release add v1 --instances 0 -- true":     "--instances 0: give more than nothing",
		"release add v1 --stop-grace 0s -- true":   "--stop-grace 0s: give more than nothing",
		"release add v1 --instances x -- true":     "\"x\" for \"--instances\" flag: that is not a whole number",
		"rollout start v1 --instances 0":           "--instances 0: give more than nothing",
		"rollout plan v1 --deadline 0s":            "--deadline 0s: give more than nothing",
		"rollout start v1 --weights 5,b":           "that is not a whole number",
		"release remove v1":                        "--yes",
		"incident open":                            "--severity",
		"incident open --severity P7 --reason x":   "--severity",
		"logs -n -4":                               "give a number",
		"audit -n 0":                               "give a number",
		"completion tcsh":                          "bash, zsh or fish",
		"help nonsense":                            "no help on",
		"restore --immediate --target-xid 3":       "[immediate target-xid] were all set",
	}
	for args, says := range cases {
		port := answering()
		got := ctl(t, port, strings.Fields(args)...)
		if got.code != 2 || !strings.Contains(got.err, says) || got.out != "" {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want 2 and %q", args, got.code, got.out, got.err, says)
		}
		if len(port.did) > 0 {
			t.Errorf("%s: did %v all the same", args, port.did)
		}
	}
}

func TestUnknownVersionsAreGuessed(t *testing.T) {
	t.Parallel()
	gone := &console.Error{Code: console.CodeNotFound, Message: "there is no release", Hint: "known releases: many"}
	port := answering()
	port.do[console.StartRollout], port.do[console.Rollback], port.do[console.RemoveRelease], port.ask[console.GetRelease] = gone, gone, gone, gone
	for args, hint := range map[string]string{
		"rollout start v1.1.O":       "did you mean v1.1.0?",
		"rollout plan 1.0.0":         "did you mean v1.0.0?",
		"rollback --to V1.0.0":       "did you mean v1.0.0?",
		"release show v1.10":         "did you mean v1.1.0?",
		"release remove v11.0 --yes": "did you mean v1.1.0?",
		"release show elephant":      "known releases: many",
	} {
		if got := ctl(t, port, strings.Fields(args)...); got.code != 1 || !strings.Contains(got.err, hint) {
			t.Errorf("%s: %+v, want %q", args, got, hint)
		}
	}
}

func TestCommandsSendWhatWasSaid(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"rollout start v2 --weights 5,100 --bake 0 --approve 5 --keep 10m --instances 3 --deadline 1m --reason why --force --supersede --plan-hash abc": `rollout.start {"to":"v2","strategy":"canary","weights":[5,100],"no_bake":true,"approve":[5],"keep":"10m","deadline":"1m","instances":3,"force":true,"supersede":true,"reason":"why","plan_hash":"abc"}`,
		"rollout plan v2 --strategy rolling --keep 0s":   `rollout.start {"to":"v2","strategy":"rolling","no_keep":true,"plan":true}`,
		"rollout pause r-3 --reason slow":                `rollout.pause {"id":"r-3","reason":"slow"}`,
		"rollout resume":                                 `rollout.resume {}`,
		"rollout promote":                                `rollout.promote {}`,
		"rollout abort --plan":                           `rollout.abort {"plan":true}`,
		"rollout retry r-2":                              `rollout.retry {"id":"r-2"}`,
		"rollback v1.0.0 --force --detach --plan-hash x": `rollback {"to":"v1.0.0","force":true,"plan_hash":"x"}`,
		"release remove v1 --yes --reason old":           `release.remove {"id":"v1","reason":"old"}`,
		"incident open --severity p1 --reason broken":    `incident.open {"severity":"P1","reason":"broken"}`,
		"incident ack":                                   `incident.ack {}`,
		"incident close i-2 --reason over":               `incident.close {"id":"i-2","reason":"over"}`,
	}
	for args, want := range cases {
		port := answering()
		ctl(t, port, strings.Fields(args)...)
		if len(port.did) != 1 || port.did[0] != want {
			t.Errorf("%s: did %v, want %s", args, port.did, want)
		}
	}
}

// each visits every command that people see.
func each(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		each(sub, visit)
	}
}

func TestEveryCommandIsExplained(t *testing.T) {
	t.Parallel()
	root := newTestApp(answering(), os.Stdout, os.Stderr).root()
	each(root, func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short help", c.CommandPath())
		}
		topic := slices.Contains([]string{"help", "completion", "exit-codes"}, c.Name())
		if !c.HasSubCommands() && !topic && !c.Hidden && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			checkExample(t, strings.TrimSpace(line))
		}
	})
}

// checkExample holds that an example is a command line that covetctl understands.
func checkExample(t *testing.T, line string) {
	t.Helper()
	words := shellWords(line)
	root := newTestApp(answering(), os.Stdout, os.Stderr).root()
	c, rest, err := root.Find(words[1:])
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil {
		err = c.ValidateArgs(c.Flags().Args())
	}
	if err != nil || words[0] != "covetctl" {
		t.Errorf("the example %q: %v", line, err)
	}
}

// shellWords splits a line at spaces that are not in double quotes.
func shellWords(line string) []string {
	quoted := false
	words := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
	for i := range words {
		words[i] = strings.Trim(words[i], `"`)
	}
	return words
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"--help":             "Deploy, watch and recover",
		"help exit-codes":    "130  interrupted",
		"exit-codes":         "130  interrupted",
		"rollout":            "Begin a rollout",
		"rollout start -h":   "--weights 5,25,100",
		"help rollout start": "--weights 5,25,100",
		"help incident":      "major functionality broken",
		"release add --help": "--ready-path",
		"completion bash":    "__start_covetctl",
		"completion zsh":     "#compdef covetctl",
		"completion fish":    "complete -c covetctl",
		"--version":          "v1.2.3",
	} {
		if got := ctl(t, answering(), strings.Fields(args)...); got.code != 0 || !strings.Contains(got.out, says) || strings.Contains(got.out, "\x1b") {
			t.Errorf("%s: %+v does not say %q", args, got, says)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"rollout start ":            "v1.1.0\tadded by ada\nv1.0.0\tadded by bob",
		"rollback --to ":            "v1.1.0\tadded by ada",
		"logs --release ":           "v1.1.0\tadded by ada",
		"rollout status ":           "r-3\tcanary v1.0.0 → v1.1.0, baking\nr-2\t",
		"incident show ":            "i-2\tP1 error rate 12% of v1.1.0\ni-1\t",
		"rollout start --strategy ": "canary\nrolling\nblue-green",
		"incident open --severity ": "P0\tservice down",
		"status -o ":                "table\njson\nyaml",
		"completion ":               "bash\nzsh\nfish",
		"help rollout ":             "start\tBegin a rollout",
		"rollout start v1.1.0 ":     ":4",
	}
	for line, want := range cases {
		words := append([]string{"__complete"}, strings.Split(line, " ")...)
		if got := ctl(t, answering(), words...); got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("%q completes to %+v, want %q", line, got, want)
		}
	}
	mute := &fake{}
	if got := ctl(t, mute, "__complete", "rollout", "start", ""); got.out != ":4\n" {
		t.Errorf("without covetd: %+v", got)
	}
}

func TestExitCodesDocument(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "..", "docs", "exit-codes.md")
	want := exitCodesDocument()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != want {
		t.Errorf("%s is not what covetctl does (go test ./cmd/covetctl -update writes it anew)", file)
	}
}

func exitCodesDocument() string {
	var b strings.Builder
	b.WriteString("# Exit statuses of covetctl\n\nMade from `covetctl help exit-codes`.\n\n| status | meaning |\n|---|---|\n")
	for _, e := range exits() {
		b.WriteString("| " + itoa(e.code) + " | " + e.meaning + " |\n")
	}
	b.WriteString("\nCommands that wait for a rollout (`--watch`, `rollback`, `rollout watch`, `attach`) end with the status of how the\nrollout ended.\n")
	return b.String()
}

func TestReleaseAddRecordsTheProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "shop v1")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	envFile := filepath.Join(dir, "env")
	if err := os.WriteFile(envFile, []byte("# comment\nexport A=1\nB='two words'\nC=\"x\\ny\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := answering()
	port.do[console.AddRelease] = rollout.Release{Version: "v9"}
	got := ctl(t, port, "release", "add", "v9", "--env", "A=3", "--env-file", envFile, "--dir", dir, "--instances", "2", "--ready-path", "/up",
		"--ready-timeout", "5s", "--drain-timeout", "6s", "--stop-grace", "7s", "--", program, "--quiet", "--env")
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	digest, err := fileDigest(program)
	if err != nil {
		t.Fatal(err)
	}
	want := `release.add {"version":"v9","manifest":{"command":["` + program + `","--quiet","--env"],"executable":"` + digest + `","dir":"` + dir +
		`","env":{"A":"3","B":"two words","C":"x\ny"},"instances":2,"ready_path":"/up","ready_timeout":"5s","drain_timeout":"6s","stop_grace":"7s"}}`
	if port.did[0] != want {
		t.Errorf("did\n%s\nwant\n%s", port.did[0], want)
	}
}

func TestReleaseAddFindsPrograms(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("PATH", dir)
	for name, mode := range map[string]os.FileMode{"shop": 0o755, "data": 0o644} {
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"--artifact", "shop"}, {"--artifact", "./shop"}, {"--", "./shop"}, {"--", "shop"}} {
		port := answering()
		port.do[console.AddRelease] = rollout.Release{Version: "v9"}
		got := ctl(t, port, append([]string{"release", "add", "v9"}, args...)...)
		want := `release.add {"version":"v9","manifest":{"command":["` + filepath.Join(dir, "shop") + `"],"executable":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","dir":"` + dir + `","instances":0,"ready_path":""}}`
		if got.code != 0 || port.did[0] != want {
			t.Errorf("%v: %+v, did\n%v\nwant\n%s", args, got, port.did, want)
		}
	}
	if got := ctl(t, answering(), "release", "add", "v9", "--", "./data"); got.code != 2 || !strings.Contains(got.err, "chmod +x ./data") {
		t.Errorf("a file that cannot be run: %+v", got)
	}
}

func FuzzEnvFile(f *testing.F) {
	for _, s := range []string{"A=1", "export A=1\n#x\n\nB='2'", `C="a\nb\"c\\"`, `D="`, "=x", "A", "A=\x00", `E="\q"`, `F='a'b'`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		env, err := readEnv(strings.NewReader(s))
		if err != nil {
			return
		}
		for name, value := range env {
			if !isName(name) || strings.ContainsRune(value, 0) {
				t.Errorf("%q gives %q=%q", s, name, value)
			}
		}
	})
}

func TestEnvFileErrorsNeverShowValues(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"A B=hunter2", "A='hunter2", `A="hunter2\q"`, "A=\x00hunter2", "1A=hunter2"} {
		if _, err := readEnv(strings.NewReader(s)); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", s, err)
		}
	}
}
