package backupcmd

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
)

// completionTime is how long a shell may be kept waiting for names.
const completionTime = time.Second

// completeBackups completes arguments from the IDs in the repository: one, or several different ones.
func completeBackups(f *repoFlags, several bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !several {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeKind(cmd, f, func(h backup.Head) bool { return !slices.Contains(args, h.ID) })
	}
}

// completeKind lists the IDs of the backups that are wanted.
func completeKind(cmd *cobra.Command, f *repoFlags, wanted func(backup.Head) bool) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	heads, _, err := f.backups(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp // a shell's prompt is no place for errors
	}
	var out []string
	for _, h := range slices.Backward(heads) {
		if wanted(h.Head) {
			out = append(out, h.ID+"\t"+when(h.Stopped)+" "+size(h.Bytes)+" "+h.Label)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeFlagBackups completes a flag's value likewise, from the backups of one kind.
func completeFlagBackups(cmd *cobra.Command, flag string, f *repoFlags, logical *bool) {
	complete(cmd, flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return completeKind(cmd, f, func(h backup.Head) bool { return (h.Logical != nil) == *logical })
	})
}

// completeWords completes a flag's value from a closed list.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	complete(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func complete(cmd *cobra.Command, flag string, by cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, by); err != nil {
		panic(err) // a mistake in the wiring, which every test would meet
	}
}
