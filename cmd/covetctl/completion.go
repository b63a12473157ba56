package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
)

const completionLong = `Print the completion script of a shell. It completes commands, flags, versions, rollouts and incidents.

  bash   source <(covetctl completion bash)
  zsh    covetctl completion zsh > "${fpath[1]}/_covetctl"
  fish   covetctl completion fish > ~/.config/fish/completions/covetctl.fish`

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print a shell's completion script", Long: completionLong, ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("completion: name one shell: bash, zsh or fish")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(a.out, true)
			case "zsh":
				return c.Root().GenZshCompletion(a.out)
			case "fish":
				return c.Root().GenFishCompletion(a.out, true)
			}
			return usage("completion %q: choose bash, zsh or fish", args[0])
		},
	}
}

// completionTime is how long a shell may be kept waiting for names.
const completionTime = 400 * time.Millisecond

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeNames completes the first argument from what covetd knows.
func completeNames[T any](a *app, op console.Op, name func(T) string) completer {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		port, err := a.connect(c.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		var all []T
		if port.Ask(ctx, op, console.Query{}, &all) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp // a shell's prompt is no place for errors
		}
		names := make([]string, 0, len(all))
		for _, v := range all {
			names = append(names, name(v))
		}
		return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

func (a *app) versions() completer {
	return completeNames(a, console.GetReleases, func(r rollout.Release) string {
		return r.Version + "\tadded by " + r.AddedBy
	})
}

func (a *app) rollouts() completer {
	return completeNames(a, console.GetRollouts, func(r rollout.Rollout) string {
		return fmt.Sprintf("%s\t%s %s → %s, %s", r.ID, r.Strategy, orNothing(r.From), r.To, r.Phase)
	})
}

func (a *app) incidents() completer {
	return completeNames(a, console.GetIncidents, func(i health.Incident) string {
		return fmt.Sprintf("%s\t%s %s", i.ID, i.Severity, i.Reason)
	})
}

// completeFlag completes a flag's value like a first argument.
func completeFlag(c *cobra.Command, flag string, by completer) {
	must(c.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return by(cmd, nil, word)
	}))
}

func orNothing(version string) string {
	if version == "" {
		return "nothing"
	}
	return version
}
