package backupcmd

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
)

func verifyCommand() *cobra.Command {
	var f repoFlags
	var o output
	var stalest int
	cmd := &cobra.Command{
		Use:   "verify [BACKUP…]",
		Short: "Read backups back and check every byte",
		Long: `Read backups back and check them: the manifest, each pack's SHA-256, each block's hash once it is decompressed, and the
WAL that the backup needs. Without names, all backups of the service; with --stalest N the newest, and the N that were verified longest ago or never.
What was found is kept in the repository. Exits with 5 where anything is damaged.`,
		Example: `  covetctl backup verify
  covetctl backup verify 20260301T020000Z-k3xq -o json`,
		RunE:              func(cmd *cobra.Command, args []string) error { return failed(f.verify(cmd, &o, args, stalest)) },
		ValidArgsFunction: completeBackups(&f, true),
	}
	f.add(cmd)
	f.addSystem(cmd)
	o.add(cmd)
	cmd.Flags().IntVar(&stalest, "stalest", 0, "only the newest backup, and the N verified longest ago")
	return cmd
}

func (f *repoFlags) verify(cmd *cobra.Command, o *output, ids []string, stalest int) error {
	if err := o.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	c, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	results := []*backup.Verification{}
	var bad []error
	for _, part := range []backup.Cluster{c, c.LogicalBackups()} {
		found, err := verifyPart(cmd, o, part, ids, stalest, &bad)
		if err != nil {
			return err
		}
		results = append(results, found...)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(results, func(r *backup.Verification) bool { return r.ID == id }) {
			_, err := manifest(ctx, c, id) // says where it isn't
			return err
		}
	}
	if err := o.print(cmd.OutOrStdout(), results, func(w io.Writer) error { return printVerified(w, results) }); err != nil {
		return err
	}
	return errors.Join(bad...)
}

// verifyPart verifies the backups of one kind: all, or those of the names that it has.
func verifyPart(cmd *cobra.Command, o *output, c backup.Cluster, ids []string, stalest int, bad *[]error) (results []*backup.Verification, err error) {
	ctx := cmd.Context()
	if len(ids) == 0 {
		heads, err := c.Backups(ctx)
		if err != nil && !errors.Is(err, backup.ErrDamaged) {
			return nil, err
		}
		if err != nil {
			*bad = append(*bad, err)
		}
		verified, err := c.Verified(ctx)
		if err != nil {
			return nil, err
		}
		ids = backup.Stalest(heads, verified, stalest)
	}
	v := backup.NewVerifier(c)
	for _, id := range ids {
		began := time.Now()
		r, err := v.Verify(ctx, id, o.progress(cmd.ErrOrStderr()))
		if errors.Is(err, backup.ErrNotFound) {
			continue // it expired meanwhile, or is of the other kind
		}
		if err != nil {
			return nil, err
		}
		if err := c.SaveVerified(ctx, id, backup.Verified{At: began.UTC(), Took: backup.Elapsed(time.Since(began)), Bytes: r.Bytes, Damage: r.Damage}); err != nil {
			return nil, err
		}
		results = append(results, r)
		if len(r.Damage) > 0 {
			*bad = append(*bad, fmt.Errorf("backup %s is damaged: %s", id, strings.Join(r.Damage, "; ")))
		}
	}
	return results, nil
}

func printVerified(w io.Writer, rs []*backup.Verification) error {
	var lines [][]string
	for _, r := range rs {
		state := "good"
		if len(r.Damage) > 0 {
			state = "DAMAGED"
		}
		lines = append(lines, []string{r.ID, state, fmt.Sprint(r.Packs), size(r.Bytes), fmt.Sprint(r.Segments)})
	}
	return rows(w, []string{"BACKUP", "STATE", "PACKS", "READ", "WAL"}, lines)
}
