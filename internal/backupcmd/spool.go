package backupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/walagent/ask"
	"github.com/covetpy/covet/ops/backup"
)

// spoolFlags say where the spool is.
type spoolFlags struct {
	dir string
	max byteSize
}

func (f *spoolFlags) add(cmd *cobra.Command) {
	f.max = 4 << 30
	if err := f.max.Set(cmp.Or(os.Getenv("COVET_WAL_SPOOL_MAX"), "4G")); err != nil {
		f.max = -1 // check says so
	}
	cmd.Flags().StringVar(&f.dir, "spool", os.Getenv("COVET_WAL_SPOOL"), "folder on a local disk where WAL waits for the repository; empty: none (COVET_WAL_SPOOL)")
	cmd.Flags().Var(&f.max, "spool-max", "how much the spool may hold (COVET_WAL_SPOOL_MAX)")
}

// spool returns the spool; nil where there is none.
func (f *spoolFlags) spool() *backup.Spool {
	if f.dir == "" {
		return nil
	}
	return &backup.Spool{Dir: f.dir, Max: int64(f.max)}
}

// byteSize is a flag for a number of bytes: 512M, 4G.
type byteSize int64

// String implements pflag.Value.
func (b *byteSize) String() string {
	n := int64(*b)
	for _, u := range []struct {
		suffix string
		size   int64
	}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}} {
		if n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// Type implements pflag.Value.
func (*byteSize) Type() string { return "size" }

// Set implements pflag.Value.
func (b *byteSize) Set(s string) error {
	digits := strings.TrimRight(s, "KMGTiB")
	shift, ok := map[string]int{"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}[strings.TrimSuffix(strings.TrimSuffix(s[len(digits):], "B"), "i")]
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || !ok || n <= 0 {
		return fmt.Errorf("%q is not a size: write 512M, 4G", s)
	}
	*b = byteSize(n << shift)
	return nil
}

// rate is a flag for kB/s, as PostgreSQL counts them: 20000, or with a unit 20M.
type rate int

// String implements pflag.Value.
func (r *rate) String() string { return strconv.Itoa(int(*r)) }

// Type implements pflag.Value.
func (*rate) Type() string { return "rate" }

// Set implements pflag.Value.
func (r *rate) Set(s string) error {
	if n, err := strconv.Atoi(s); err == nil {
		*r = rate(n)
		return nil
	}
	var b byteSize
	if b.Set(s) != nil {
		return fmt.Errorf("%q is not a rate: write 20M, or 20000 for kB/s", s)
	}
	*r = rate(b >> 10)
	return nil
}

func drainCommand() *cobra.Command {
	var f archiveFlags
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Bring what waits in the WAL spool to the repository",
		Long: `Bring what waits in the WAL spool to the repository, and end when the spool is empty. covetctl wal push --spool starts it in
the background, and covetctl wal agent does the same all the time; by hand it is for a machine whose server is gone.`,
		Example: `  covetctl wal drain --spool /var/spool/covet`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return failed(f.drain(cmd, patience)) },
	}
	f.add(cmd)
	f.addSystem(cmd)
	cmd.Flags().DurationVar(&patience, "retry", 0, "how long to go on trying when the repository fails")
	return cmd
}

func (f *archiveFlags) drain(cmd *cobra.Command, patience time.Duration) error {
	s := f.spool()
	if s == nil {
		return usage(errors.New("no spool is named: set --spool or COVET_WAL_SPOOL"))
	}
	repo, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		left, err := f.drainOnce(cmd.Context(), repo, s)
		if err == nil && left == 0 {
			return f.refused(s)
		}
		if err != nil && (errors.Is(err, backup.ErrLocked) || time.Now().Add(pause).After(deadline)) {
			return err
		}
		if err == nil {
			continue // more came meanwhile
		}
		select {
		case <-time.After(pause):
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		}
	}
}

// drainOnce empties the parts of the spool that belong to the service, or to the one system that is meant, and says how
// many files came meanwhile.
func (f *archiveFlags) drainOnce(ctx context.Context, repo backup.Repository, s *backup.Spool) (left int, err error) {
	codec, err := f.codec()
	if err != nil {
		return 0, err
	}
	ids, err := s.Systems(f.service)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if f.system != "" && f.system != id.String() {
			continue
		}
		c := repo.Cluster(f.service, id)
		if err := s.Drain(ctx, c, codec, archiveWorks); err != nil {
			return 0, err
		}
		n, err := s.Waiting(c)
		if err != nil {
			return 0, err
		}
		left += n
	}
	return left, nil
}

// refused fails where the repository won't ever take some of the files.
func (f *archiveFlags) refused(s *backup.Spool) error {
	st, err := s.State()
	if err == nil && len(st.Refused) > 0 {
		err = fmt.Errorf("the repository refused %d files of the spool: %s", len(st.Refused), strings.Join(st.Refused, "; "))
	}
	return err
}

// spawnDrain starts a process that empties the spool, unless one is at it.
func (f *archiveFlags) spawnDrain(c backup.Cluster) error {
	if f.spool().Busy(c) {
		return nil
	}
	args := append([]string{"wal", "drain", "--retry", "5m", "--system", c.System.String(), "--spool", f.dir, "--spool-max", f.max.String()}, f.args()...)
	return spawn(append(args, "--compression", f.compression)...)
}

// walStatus is what wal status says.
type walStatus struct {
	Agent struct {
		Socket  string `json:"socket"`
		Running bool   `json:"running"`
	} `json:"agent"`
	Spool *backup.SpoolState `json:"spool"`
}

func walStatusCommand() *cobra.Command {
	var f archiveFlags
	var o output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the agent, and what waits in the spool",
		Long: `Show whether an agent runs on this machine, and what waits in the spool: WAL that PostgreSQL was told is safe, and that is
on this machine alone until it is in the repository. Exits with 5 where the spool can't be emptied.`,
		Example: `  covetctl wal status -o json`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return failed(f.status(cmd, &o)) },
	}
	f.spoolFlags.add(cmd)
	f.agentFlags.add(cmd)
	o.add(cmd)
	return cmd
}

func (f *archiveFlags) status(cmd *cobra.Command, o *output) error {
	if err := o.check(); err != nil {
		return err
	}
	var st walStatus
	st.Agent.Socket = f.socket
	st.Agent.Running = f.socket != "" && ask.Running(f.socket)
	if s := f.spool(); s != nil {
		got, err := s.State()
		if err != nil {
			return err
		}
		st.Spool = &got
	}
	if err := o.print(cmd.OutOrStdout(), st, st.table); err != nil {
		return err
	}
	switch {
	case st.Spool == nil:
		return nil
	case len(st.Spool.Refused) > 0:
		return errors.New("the repository refused some of the spool's files: look at both, then remove what is wrong from the spool, with its .refused note")
	case st.Spool.Fault != "":
		return errors.New("the spool could not be brought to the repository: see above")
	}
	return nil
}

func (st *walStatus) table(w io.Writer) error {
	agent := "none"
	if st.Agent.Running {
		agent = "listens on " + st.Agent.Socket
	}
	pairs := []string{"agent", agent, "spool", "none: WAL is acknowledged when it is in the repository"}
	if s := st.Spool; s != nil {
		pairs[3] = s.Dir + ", " + spoolText(*s)
		if !s.Oldest.IsZero() {
			pairs = append(pairs, "oldest", fmt.Sprintf("%s, %s ago", when(s.Oldest), time.Since(s.Oldest).Round(time.Second)))
		}
		pairs = append(pairs, "last fault", s.Fault, "refused", strings.Join(s.Refused, "; "))
	}
	return fields(w, pairs...)
}

func spoolText(s backup.SpoolState) string {
	if s.Files == 0 {
		return "empty"
	}
	return fmt.Sprintf("%d files, %s of %s: acknowledged, and on this machine alone", s.Files, size(s.Bytes), size(s.Max))
}
