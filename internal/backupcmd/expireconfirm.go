package backupcmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/backup"
)

// confirm shows a person at a terminal what is to go, and has the service's name typed: what is removed can't be had back. A script
// has said by its flags what is to stay.
func (f *expireFlags) confirm(cmd *cobra.Command, c backup.Cluster, now time.Time) error {
	if f.plan || f.yes || f.host == nil || !render.IsTerminal(cmd.InOrStdin()) || !render.IsTerminal(cmd.ErrOrStderr()) {
		return nil
	}
	plan := *f
	plan.plan = true
	e, err := plan.expire(cmd.Context(), c, now)
	if err != nil {
		return err
	}
	if e.Nothing() {
		return nil
	}
	w := cmd.ErrOrStderr()
	if err := plan.table(w, e); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "There is no way back. Type the name of the service, %s, to remove them: ", c.Service); err != nil {
		return err
	}
	answer, err := readLine(cmd.Context(), cmd.InOrStdin())
	if err != nil {
		_, lineErr := fmt.Fprintln(w)
		return errors.Join(err, lineErr)
	}
	if answer != c.Service {
		return usage(fmt.Errorf("%q is not %s: nothing was removed", answer, c.Service))
	}
	return nil
}

// readLine reads what a person types, until the context ends.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type typed struct {
		line string
		err  error
	}
	got := make(chan typed, 1)
	go func() { // it ends with the process where nothing is typed any more
		line, err := bufio.NewReader(r).ReadString('\n')
		got <- typed{line, err}
	}()
	select {
	case t := <-got:
		if t.err != nil && !errors.Is(t.err, io.EOF) {
			return "", fmt.Errorf("read the answer: %w", t.err)
		}
		return strings.TrimSpace(t.line), nil
	case <-ctx.Done():
		return "", fmt.Errorf("nothing was removed: %w", context.Cause(ctx))
	}
}
