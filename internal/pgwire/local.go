package pgwire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/ops/backup"
)

// LocalOptions are what a person may choose of a backup of local files.
type LocalOptions struct {
	Label    string
	Spread   bool // wait for a checkpoint spread over time, instead of asking for one at once
	MaxRate  int  // kB/s to read; 0: no limit
	NoVerify bool // don't verify page checksums
	Notice   func(*pgconn.PgError)
}

// Local implements backup.Source with the files of a server on this machine: the server is asked to begin and to end the
// backup, and its files are read here, several at once. A file that hasn't changed since an earlier backup of the same
// directory, by its size and time, isn't read.
type Local struct {
	dsn, dir string
	o        LocalOptions

	c       *conn
	version int
	ctx     context.Context // of the reading ahead
	cancel  context.CancelFunc
	ahead   *readAhead
	next    *backup.Entry // that was met while reading the one before
	now     *block
	used    int           // of now
	tail    []memoryFile  // that come last
	content *bytes.Reader // of one of these
	stop    backup.Stop
	ended   bool
	began   time.Time
	read    int64
}

type memoryFile struct {
	backup.File
	data []byte
}

// NewLocal prepares a backup of the server that dsn names, whose data directory is dir.
func NewLocal(dsn, dir string, o LocalOptions) *Local { return &Local{dsn: dsn, dir: dir, o: o} }

// Close ends the connection, and with it a backup that was not stopped.
func (l *Local) Close() error {
	if l.cancel != nil {
		l.cancel()
	}
	if l.c == nil {
		return nil
	}
	return l.c.close()
}

// Start implements backup.Source.
func (l *Local) Start(ctx context.Context, prev *backup.Manifest) (s backup.Start, err error) {
	if l.c, err = dial(ctx, l.dsn, l.o.Notice); err != nil {
		return s, err
	}
	srv, err := l.c.identify()
	if err != nil {
		return s, err
	}
	l.version = srv.Version
	if err := l.same(srv); err != nil {
		return s, err
	}
	begin := "pg_backup_start(" + quote(l.o.Label) + ", " + strconv.FormatBool(!l.o.Spread) + ")"
	if l.version < 150000 {
		begin = "pg_start_backup(" + quote(l.o.Label) + ", " + strconv.FormatBool(!l.o.Spread) + ", false)"
	}
	row, err := l.c.row("SELECT "+begin, 1)
	if err != nil {
		return s, explainRights(err)
	}
	s = backup.Start{System: srv.System, PGVersion: srv.Version, Timeline: srv.Timeline, SegmentSize: srv.SegmentSize, Checksums: srv.Checksums, Time: srv.Time}
	if s.LSN, err = backup.ParseLSN(row[0]); err != nil {
		return s, err
	}
	if s.Directory, err = directoryName(l.dir); err != nil {
		return s, err
	}
	catalog, err := l.spaces(&s)
	if err != nil {
		return s, err
	}
	files, err := l.list(&s, catalog)
	if err != nil {
		return s, fmt.Errorf("list the files in %s: %w", l.dir, err)
	}
	s.FullRead = markUnchanged(files, prev, &s)
	l.ctx, l.cancel = context.WithCancel(ctx)
	l.ahead = newReadAhead(l.ctx, files, s.LSN, s.Checksums && !l.o.NoVerify, runtime.GOMAXPROCS(0)+1)
	l.began = time.Now()
	return s, nil
}

func explainRights(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "42501" {
		return fmt.Errorf("%w (GRANT EXECUTE ON FUNCTION pg_backup_start, pg_backup_stop TO the role)", err)
	}
	return err
}

// directoryName says which machine's which directory it is.
func directoryName(dir string) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	abs, err := filepath.Abs(dir)
	return host + ":" + abs, err
}

// spaces asks for the tablespaces; catalog is the folder in each that is the server's.
func (l *Local) spaces(s *backup.Start) (catalog string, err error) {
	row, err := l.c.row("SELECT catalog_version_no FROM pg_control_system()", 1)
	if err != nil {
		return "", err
	}
	if err := l.c.query("SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE '/%' ORDER BY oid"); err != nil {
		return "", err
	}
	rows, err := l.c.rows()
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		oid, err := strconv.ParseUint(r[0], 10, 32)
		if err != nil {
			return "", fmt.Errorf("tablespace OID %q: %w", r[0], err)
		}
		s.Tablespaces = append(s.Tablespaces, backup.Tablespace{OID: uint32(oid), Location: r[1]})
	}
	return fmt.Sprintf("PG_%d_%s", l.version/10000, row[0]), l.c.ready()
}

// list lists all files, the control file last.
func (l *Local) list(s *backup.Start, catalog string) ([]localFile, error) {
	var out []localFile
	inside, err := within(l.dir, s.Tablespaces)
	if err != nil {
		return nil, err
	}
	add := func(root, below string, space int, inside []string) error {
		files, err := listFiles(root, below, space, inside)
		for _, f := range files {
			s.Total += f.Size
			out = append(out, localFile{File: f, full: filepath.Join(root, filepath.FromSlash(f.Path))})
		}
		return err
	}
	if err := add(l.dir, "", 0, inside); err != nil {
		return nil, err
	}
	for i, t := range s.Tablespaces {
		if err := add(t.Location, catalog, i+1, nil); err != nil {
			return nil, err
		}
	}
	full := filepath.Join(l.dir, controlPath)
	info, err := os.Stat(full)
	if err != nil {
		return nil, err
	}
	return append(out, localFile{File: backup.File{Path: controlPath, Mode: info.Mode().Perm(), ModTime: info.ModTime().Truncate(time.Second).UTC(), Size: info.Size()}, full: full}), nil
}

// markUnchanged marks the files that are as they were in an earlier backup of this directory: of the same size and time,
// the time being before that backup began. It returns why none can be told.
func markUnchanged(files []localFile, prev *backup.Manifest, s *backup.Start) string {
	if prev == nil {
		return ""
	}
	if prev.Directory != s.Directory {
		return "the previous backup was not made from the files in this directory"
	}
	type key struct{ space, path string }
	known := map[key]*backup.File{}
	space := func(i int, all []backup.Tablespace) string {
		if i == 0 {
			return ""
		}
		return all[i-1].Location
	}
	for i := range prev.Items {
		if f := &prev.Items[i]; f.Type == backup.TypeFile {
			known[key{space(f.Space, prev.Tablespaces), f.Path}] = f
		}
	}
	for i := range files {
		f := &files[i]
		old := known[key{space(f.Space, s.Tablespaces), f.Path}]
		f.unchanged = old != nil && f.Type == backup.TypeFile && f.Path != controlPath && f.Size == old.Size &&
			f.ModTime.Equal(old.ModTime) && f.ModTime.Before(prev.Started.Add(-2*time.Second))
	}
	return ""
}

// Next implements backup.Source.
func (l *Local) Next() (backup.Entry, error) {
	l.content = nil
	for l.next == nil {
		e, ok := <-l.ahead.events
		if !ok {
			return l.nextTail()
		}
		if e.block != nil { // that nobody has read
			l.now = e.block
			if err := l.drop(); err != nil {
				return backup.Entry{}, err
			}
			continue
		}
		l.next = e.entry
	}
	e := *l.next
	l.next = nil
	return e, nil
}

// drop gives the present block back.
func (l *Local) drop() error {
	b := l.now
	if err := l.wait(b); err != nil {
		return err
	}
	l.now, l.used = nil, 0
	l.ahead.free <- b.buf[:blockSize]
	if b.last {
		return b.file.Close()
	}
	return nil
}

// wait returns when a block was read.
func (l *Local) wait(b *block) error {
	select {
	case <-b.done:
		return b.err
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

// nextTail ends the backup on the server when all files are read, and yields the label, which the server makes then.
func (l *Local) nextTail() (backup.Entry, error) {
	if l.ahead.err != nil {
		return backup.Entry{}, l.ahead.err
	}
	if !l.ended {
		if err := l.end(); err != nil {
			return backup.Entry{}, err
		}
	}
	if len(l.tail) == 0 {
		return backup.Entry{}, io.EOF
	}
	f := l.tail[0]
	l.tail = l.tail[1:]
	l.content = bytes.NewReader(f.data)
	return backup.Entry{File: f.File}, nil
}

func (l *Local) end() (err error) {
	if n := l.ahead.damaged.Load(); n > 0 {
		return fmt.Errorf("%d pages of the database are damaged (%s): no backup was made of them, the older ones are untouched", n, strings.Join(l.ahead.damage, ", "))
	}
	finish := "pg_backup_stop(false)"
	if l.version < 150000 {
		finish = "pg_stop_backup(false, false)"
	}
	row, err := l.c.row("SELECT lsn, labelfile FROM "+finish, 2)
	if err != nil {
		return fmt.Errorf("end the backup on the server: %w", err)
	}
	if l.stop.LSN, err = backup.ParseLSN(row[0]); err != nil {
		return err
	}
	srv, err := l.c.identify()
	if err != nil {
		return err
	}
	l.stop.Timeline, l.stop.Time, l.ended = srv.Timeline, srv.Time, true
	l.tail = []memoryFile{{backup.File{Path: "backup_label", Mode: 0o600, Size: int64(len(row[1])), ModTime: srv.Time.Truncate(time.Second)}, []byte(row[1])}}
	return nil
}

// Read implements backup.Source.
func (l *Local) Read(p []byte) (int, error) {
	if l.content != nil {
		return l.content.Read(p)
	}
	if err := l.arrive(); err != nil {
		return 0, err
	}
	n := copy(p, l.now.buf[l.used:])
	l.used += n
	l.pace(n)
	if l.used == len(l.now.buf) {
		return n, l.drop()
	}
	return n, nil
}

// Exchange implements backup.Exchanger with the blocks that were read ahead.
func (l *Local) Exchange(buf []byte) ([]byte, error) {
	if l.content != nil {
		return nil, nil
	}
	if err := l.arrive(); err != nil {
		return nil, err
	}
	full := l.now.buf
	if l.used > 0 || len(full) != blockSize || len(buf) != blockSize {
		return nil, nil
	}
	l.now.buf = buf
	l.pace(len(full))
	return full, l.drop()
}

// arrive returns when there is a block of the present file to read from; io.EOF where the file has no more.
func (l *Local) arrive() error {
	if l.now == nil {
		if l.next != nil {
			return io.EOF
		}
		e, ok := <-l.ahead.events
		switch {
		case !ok && l.ahead.err != nil:
			return l.ahead.err
		case !ok:
			return io.EOF
		case e.entry != nil:
			l.next = e.entry
			return io.EOF
		}
		l.now = e.block
	}
	return l.wait(l.now)
}

// pace waits where more was read than may be.
func (l *Local) pace(n int) {
	l.read += int64(n)
	if l.o.MaxRate > 0 {
		due := time.Duration(float64(l.read) / float64(l.o.MaxRate<<10) * float64(time.Second))
		time.Sleep(due - time.Since(l.began))
	}
}

// Stop implements backup.Source.
func (l *Local) Stop() (backup.Stop, error) {
	if !l.ended {
		return l.stop, errors.New("the files were not read to their end")
	}
	return l.stop, nil
}
