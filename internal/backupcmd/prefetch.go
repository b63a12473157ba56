package backupcmd

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/walquick"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/backup/walside"
	"github.com/covetpy/covet/ops/restore"
)

// prefetched is the folder of what was fetched ahead; ok is false where nothing is to be: the file isn't a segment, or no
// server is recovering here.
func (f *fetchFlags) prefetched(name, path string, id backup.SystemID) (p walside.Prefetched, ok bool) {
	kind, err := backup.ParseWALFile(name)
	if err != nil || kind.Kind != backup.WALSegment || f.ahead <= 0 || !walside.InRecovery(".") {
		return p, false
	}
	return walside.PrefetchedIn(filepath.Dir(path), cmp.Or(walquick.Invocation(), strings.Join(append(f.args(), id.String()), "\n")))
}

// keepFetching starts the process that fetches ahead, unless it runs.
func (f *fetchFlags) keepFetching(p walside.Prefetched, id backup.SystemID, path string) error {
	if p.Busy() {
		return nil
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	args := []string{"wal", "prefetch", p.Dir, "--segment-size", strconv.FormatInt(st.Size(), 10), "--ahead", strconv.Itoa(f.ahead), "--system", id.String()}
	// Without it the recovery is slower, and no less right.
	_ = spawn(append(args, f.args()...)...)
	return nil
}

// spawn starts this program with other arguments, as a process of its own that has nothing of the present one's.
func spawn(args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range files { // PostgreSQL leaves files of its own open, which must not stay so
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	cmd := exec.Command(self, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

func prefetchCommand() *cobra.Command {
	var f fetchFlags
	var size int64
	cmd := &cobra.Command{
		Use:    "prefetch DIR",
		Short:  "Fetch ahead of a recovery: started by wal fetch",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(cmd *cobra.Command, args []string) error { return failed(f.prefetch(cmd, args[0], size)) },
	}
	f.repoFlags.add(cmd)
	f.addSystem(cmd)
	cmd.Flags().IntVar(&f.ahead, "ahead", 8, "segments to hold")
	cmd.Flags().Int64Var(&size, "segment-size", 16<<20, "bytes of a segment")
	return cmd
}

func (f *fetchFlags) prefetch(cmd *cobra.Command, dir string, size int64) error {
	if size <= 0 {
		return usage(errors.New("--segment-size must be positive"))
	}
	debug.SetGCPercent(25) // what it holds is used again and again, beside a server that needs the memory
	id, err := f.walSystem("")
	if err != nil {
		return err
	}
	repo, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	p := restore.Prefetcher{
		Prefetched: walside.Prefetched{Dir: dir}, Cluster: repo.Cluster(f.service, id), Size: size,
		Ahead: f.ahead, Workers: 2, Alive: func() bool { return walside.InRecovery(".") },
	}
	return p.Run(cmd.Context())
}
