package backupcmd

import (
	"context"
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
WAL that the backup needs. Without names, all backups of the service, and every file of the archived log from the oldest backup on; with
--stalest N the newest backup, the N that were verified longest ago or never, and the log since the backup before the newest.
What was found is kept in the repository: covetctl status tells of it, and a restore passes over a damaged backup where another
leads to the target. Exits with 5 where anything is damaged. What of the log is missing is shown by covetctl backup gaps.`,
		Example: `  covetctl backup verify
  covetctl backup verify 20260301T020000Z-k3xq -o json`,
		RunE:              func(cmd *cobra.Command, args []string) error { return failed(f.verify(cmd, &o, args, stalest)) },
		ValidArgsFunction: completeBackups(&f, true),
	}
	f.addPatient(cmd)
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

// verifyPart verifies the backups of one kind: all, or those of the names that it has. Without names, the log as well.
func verifyPart(cmd *cobra.Command, o *output, c backup.Cluster, ids []string, stalest int, bad *[]error) (results []*backup.Verification, err error) {
	ctx := cmd.Context()
	check := verifying{v: backup.NewVerifier(c), c: c, o: o, cmd: cmd}
	var heads []backup.Head
	if len(ids) == 0 {
		if heads, err = c.Backups(ctx); err != nil && !errors.Is(err, backup.ErrDamaged) {
			return nil, err
		}
		if err != nil {
			*bad = append(*bad, err)
		}
		verified, err := c.Verified(ctx)
		if err != nil && !errors.Is(err, backup.ErrDamaged) {
			return nil, err
		}
		ids = backup.Stalest(heads, verified, stalest)
	}
	for _, id := range ids {
		r, err := check.keep(ctx, "backup "+id, func(report func(backup.Progress)) (*backup.Verification, error) {
			return check.v.Verify(ctx, id, report)
		})
		if errors.Is(err, backup.ErrNotFound) {
			continue // it expired meanwhile, or is of the other kind
		}
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	if len(heads) > 0 && heads[0].Logical == nil {
		r, err := check.log(ctx, heads, stalest > 0)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	*bad = append(*bad, check.bad...)
	return results, nil
}

// verifying is a verification under way.
type verifying struct {
	v   *backup.Verifier
	c   backup.Cluster
	o   *output
	cmd *cobra.Command
	bad []error // what is damaged
}

// log verifies the archived log that the backups need: all of it, or what is newer than the backup before the newest.
func (v *verifying) log(ctx context.Context, heads []backup.Head, recent bool) (*backup.Verification, error) {
	if n := len(heads); recent && n > 1 {
		heads = heads[n-2:]
	}
	from := heads[0].FirstSegment().No
	for _, h := range heads {
		from = min(from, h.FirstSegment().No)
	}
	r, err := v.keep(ctx, "the archived WAL", func(report func(backup.Progress)) (*backup.Verification, error) {
		return v.v.Log(ctx, heads[0].SegmentSize, from, report)
	})
	if err == nil && len(r.Damage) > 0 {
		v.bad = append(v.bad, errors.New(mendLog))
	}
	return r, err
}

// mendLog is what to do about damage in the log.
const mendLog = "what the server or a standby has still in pg_wal is made whole by covetctl wal push PGDATA/pg_wal/NAME; from a new backup on, the log before it is not needed"

// keep does one verification, and keeps what it found.
func (v *verifying) keep(ctx context.Context, what string, do func(func(backup.Progress)) (*backup.Verification, error)) (*backup.Verification, error) {
	began := time.Now()
	r, err := do(v.o.progress(v.cmd.ErrOrStderr()))
	if err != nil {
		return nil, err
	}
	if len(r.Damage) > 0 {
		v.bad = append(v.bad, fmt.Errorf("%s is damaged: %s", what, strings.Join(r.Damage, "; ")))
	}
	return r, v.c.SaveVerified(ctx, backup.Verified{ID: r.ID, At: began.UTC(), Took: backup.Elapsed(time.Since(began)), Bytes: r.Bytes, Damage: r.Damage})
}

func printVerified(w io.Writer, rs []*backup.Verification) error {
	var lines [][]string
	for _, r := range rs {
		state := "good"
		if len(r.Damage) > 0 {
			state = "DAMAGED"
		}
		id := r.ID
		if id == backup.LogID {
			id = "archived WAL"
		}
		lines = append(lines, []string{id, state, fmt.Sprint(r.Packs), size(r.Bytes), fmt.Sprint(r.Segments)})
	}
	return rows(w, []string{"BACKUP", "STATE", "PACKS", "READ", "WAL"}, lines)
}
