package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
)

func listCommand() *cobra.Command {
	var f repoFlags
	var o output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the backups of a service",
		Example: `  covetctl backup list
  covetctl backup list --service orders -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			list, damaged, err := f.backups(cmd.Context())
			if err != nil {
				return failed(err)
			}
			if err := o.print(cmd.OutOrStdout(), list, func(w io.Writer) error { return printList(w, list) }); err != nil {
				return failed(err)
			}
			return failed(damaged)
		},
	}
	f.add(cmd)
	f.addSystem(cmd)
	o.add(cmd)
	return cmd
}

// listed is a backup, and what the last verification found; nil: nobody has looked.
type listed struct {
	backup.Head
	Verified *backup.Verified `json:"verified,omitempty"`
}

// backups lists the backups of all clusters of the service, or of the one of --system; damaged joins what can't be read.
func (f *repoFlags) backups(ctx context.Context) (list []listed, damaged, err error) {
	repo, err := f.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids, err := repo.Systems(ctx, f.service)
	if err != nil {
		return nil, nil, err
	}
	list = []listed{}
	for _, id := range ids {
		if f.system != "" && f.system != id.String() {
			continue
		}
		c := repo.Cluster(f.service, id)
		for _, part := range []backup.Cluster{c, c.LogicalBackups()} {
			hs, err := part.Backups(ctx)
			if err != nil && !errors.Is(err, backup.ErrDamaged) {
				return nil, nil, err
			}
			verified, verr := part.Verified(ctx)
			if verr != nil && !errors.Is(verr, backup.ErrDamaged) {
				return nil, nil, verr
			}
			for _, h := range hs {
				l := listed{Head: h}
				if v, ok := verified[h.ID]; ok {
					l.Verified = &v
				}
				list = append(list, l)
			}
			damaged = errors.Join(damaged, err)
		}
	}
	return list, damaged, nil
}

// readBack says what came of reading a backup back.
func (l listed) readBack() string {
	switch {
	case l.Verified == nil:
		return "never"
	case len(l.Verified.Damage) > 0:
		return "DAMAGED"
	}
	return "good, " + when(l.Verified.At)
}

func printList(w io.Writer, list []listed) error {
	var lines [][]string
	for _, h := range list {
		line := []string{h.ID, "physical", when(h.Stopped), size(h.Bytes), size(h.StoredBytes), fmt.Sprint(h.Timeline), h.StartLSN.String(), h.StopLSN.String(), h.System.String(), h.readBack(), h.Label}
		if h.Logical != nil {
			line[1], line[5], line[6], line[7] = "logical", "-", "-", "-"
			line[10] = strings.TrimSpace(h.Label + " (" + h.Logical.Scope() + ")")
		}
		lines = append(lines, line)
	}
	return rows(w, []string{"BACKUP", "KIND", "ENDED", "SIZE", "STORED", "TIMELINE", "FROM", "TO", "SYSTEM", "READ BACK", "LABEL"}, lines)
}

func showCommand() *cobra.Command {
	var f repoFlags
	var o output
	cmd := &cobra.Command{
		Use:               "show BACKUP",
		Short:             "Show one backup, of either kind",
		Example:           `  covetctl backup show 20260301T020000Z-k3xq`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeBackups(&f, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, err := f.cluster(cmd.Context())
			if err != nil {
				return failed(err)
			}
			m, err := manifest(cmd.Context(), c, args[0])
			if err != nil {
				return failed(err)
			}
			return failed(o.print(cmd.OutOrStdout(), m.Head, func(w io.Writer) error { return printHead(w, m.Head) }))
		},
	}
	f.add(cmd)
	f.addSystem(cmd)
	o.add(cmd)
	return cmd
}

// manifest reads that of a backup of either kind.
func manifest(ctx context.Context, c backup.Cluster, id string) (*backup.Manifest, error) {
	m, err := c.Manifest(ctx, id)
	if !errors.Is(err, backup.ErrNotFound) {
		return m, err
	}
	if m, logicalErr := c.LogicalBackups().Manifest(ctx, id); !errors.Is(logicalErr, backup.ErrNotFound) {
		return m, logicalErr
	}
	return nil, err
}
