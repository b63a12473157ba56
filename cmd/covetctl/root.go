package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/ops/console"

	"github.com/covetpy/covet/tui/theme"
)

const rootLong = `Deploy, watch and recover a service that covetd runs.

Without a command the console opens. Every action in it is a command here too, with --plan to see what would happen,
-o json for programs, and an exit status that says how it went (covetctl help exit-codes).`

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use: "covetctl", Short: "Deploy, watch and recover a service", Long: rootLong,
		Version: a.parts.build.Version,
		Example: `covetctl
covetctl status
covetctl rollout start v1.1.0 --watch
covetctl rollback --reason "checkout answers 500"`,
		Args:              a.known,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.ValidateFlagGroups(); err != nil { // cobra looks at the groups only after this
				return err
			}
			return a.begin()
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.open(cmd.Context()) },
	}
	c.SetArgs(a.args)
	c.SetIn(a.in)
	c.SetOut(a.out)
	c.SetErr(a.err)
	c.SetHelpCommand(a.helpCommand())
	a.globalFlags(c)
	c.AddGroup(&cobra.Group{ID: "see", Title: "See"}, &cobra.Group{ID: "act", Title: "Act"}, &cobra.Group{ID: "data", Title: "Data"}, &cobra.Group{ID: "other", Title: "Other"})
	for group, commands := range map[string][]*cobra.Command{
		"data":  backupcmd.Commands(a.backupHost()),
		"see":   {a.statusCommand(), a.instancesCommand(), a.logsCommand(), a.auditCommand(), a.attachCommand(), a.clusterCommand()},
		"act":   {a.releaseCommand(), a.rolloutCommand(), a.rollbackCommand(), a.serviceCommand(), a.incidentCommand(), a.userCommand()},
		"other": {a.configCommand(), a.manifestsCommand(), a.versionCommand(), a.completionCommand(), a.exitCodesTopic()},
	} {
		for _, sub := range commands {
			sub.GroupID = group
			c.AddCommand(sub)
		}
	}
	return c
}

func (a *app) globalFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&a.flags.socket, "socket", "", "covetd's socket (env COVET_SOCKET)")
	f.StringVar(&a.flags.dataDir, "data-dir", "", "covetd's data directory, for when it does not run (env COVET_DATA_DIR)")
	a.clusterFlags(c)
	f.StringVarP(&a.flags.output, "output", "o", "table", "table, json or yaml")
	f.BoolVar(&a.flags.noColor, "no-color", false, "no colours (env NO_COLOR)")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "only names and errors")
	f.BoolVar(&a.flags.ascii, "ascii", false, "only ASCII glyphs")
	c.Flags().BoolVar(&a.flags.accessible, "accessible", false, "the console as appended lines, for screen readers")
	c.Flags().StringVar(&a.flags.theme, "theme", "", "the console's colours: "+strings.Join(theme.Names(), ", "))
	must(c.RegisterFlagCompletionFunc("theme", cobra.FixedCompletions(theme.Names(), cobra.ShellCompDirectiveNoFileComp)))
	f.DurationVar(&a.flags.timeout, "timeout", 10*time.Second, "how long covetd may take to answer; 0 for ever")
	must(c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)))
}

var formats = []string{"table", "json", "yaml"}

// begin checks the flags that every command has.
func (a *app) begin() error {
	if !slices.Contains(formats, a.flags.output) {
		return usage("--output %q: choose table, json or yaml", a.flags.output)
	}
	a.begun = true
	return nil
}

// group is a command that only holds others.
func (a *app) group(c *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	c.Args = a.known
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	c.AddCommand(subs...)
	return c
}

// known refuses words that are no command of c, and says which one may have been meant.
func (a *app) known(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := usage("%s has no command %q", c.CommandPath(), args[0])
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near, ok := nearest(args[0], names); ok {
		e.Hint = fmt.Sprintf("did you mean `%s %s`?", c.CommandPath(), near)
	}
	return e
}

func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [command or topic]", Short: "Explain a command, or a topic such as exit-codes",
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage("there is no help on %q", args)
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			target, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range target.Commands() {
				names = append(names, sub.Name()+"\t"+sub.Short)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// must is for mistakes in the wiring of a command, which every test would meet.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// versionArg is the one argument of commands about a release.
func versionArg(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage("%s: name one version, for example %s v1.1.0", c.CommandPath(), c.CommandPath())
	}
	return nil
}

// atMostOne is for commands about a rollout or an incident, which mean the one that matters most when none is named.
func atMostOne(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("%s: name one at most", c.CommandPath())
	}
	return nil
}

// none is for commands that take no argument.
func none(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no argument; %q is one too many", c.CommandPath(), args[0])
	}
	return nil
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// isCode reports whether the error has the code.
func isCode(err error, code console.Code) bool {
	e, ok := asConsole(err)
	return ok && e.Code == code
}
