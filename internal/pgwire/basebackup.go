package pgwire

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/ops/backup"
)

// BaseBackupOptions are what a person may choose of a base backup.
type BaseBackupOptions struct {
	Label    string
	Spread   bool // wait for a checkpoint spread over time, instead of asking for one at once
	MaxRate  int  // kB/s that the server may send; 0: no limit
	NoVerify bool // don't let the server verify page checksums as it reads
	Notice   func(*pgconn.PgError)
}

// BaseBackup implements backup.Source with the server's BASE_BACKUP command.
type BaseBackup struct {
	dsn string
	o   BaseBackupOptions

	c       *conn
	version int // server_version_num
	start   backup.Start
	tar     *tar.Reader
	space   int    // of the present archive
	below   string // where in the data directory its files are

	left     int // bytes of the present data message
	next     *archive
	finished bool // the copy has ended

	incremental bool      // files may be INCREMENTAL ones
	content     io.Reader // of the present file

	inside  map[string]string // tablespaces that lie in the data directory, by OID
	folders []backup.File     // that come before the present archive's files

	// Up to PostgreSQL 14 each archive is a copy of its own, in the order in which they were announced.
	order []string
}

// archive is the beginning of a tar archive in the stream.
type archive struct{ name string }

// NewBaseBackup prepares a backup of the server that dsn names; Start connects.
func NewBaseBackup(dsn string, o BaseBackupOptions) *BaseBackup {
	return &BaseBackup{dsn: dsn, o: o, inside: map[string]string{}}
}

// Close ends the connection, and with it a backup that was not stopped.
func (b *BaseBackup) Close() error {
	if b.c == nil {
		return nil
	}
	return b.c.close()
}

// command is the BASE_BACKUP command. WAL is fetched separately, and the server doesn't wait for its archiver: the backup
// is called complete only when the WAL is seen in the repository. The map of tablespaces is made anew by a restore;
// asked for it, PostgreSQL 15 leaves out what lies in tablespaces inside the data directory.
func (b *BaseBackup) command(more string) string {
	if b.old() {
		return b.oldCommand()
	}
	opts := []string{
		"LABEL " + quote(b.o.Label), "PROGRESS true", "WAL false", "WAIT false", "MANIFEST 'no'",
		"VERIFY_CHECKSUMS " + strconv.FormatBool(!b.o.NoVerify),
	}
	if b.o.Spread {
		opts = append(opts, "CHECKPOINT 'spread'")
	} else {
		opts = append(opts, "CHECKPOINT 'fast'")
	}
	if b.o.MaxRate > 0 {
		opts = append(opts, "MAX_RATE "+strconv.Itoa(b.o.MaxRate))
	}
	return "BASE_BACKUP ( " + strings.Join(opts, ", ") + more + " )"
}

// old says that the server speaks the protocol of PostgreSQL 14.
func (b *BaseBackup) old() bool { return b.version < 150000 }

// oldCommand is the command as PostgreSQL 14 knows it.
func (b *BaseBackup) oldCommand() string {
	cmd := "BASE_BACKUP LABEL " + quote(b.o.Label) + " PROGRESS NOWAIT"
	if !b.o.Spread {
		cmd += " FAST"
	}
	if b.o.MaxRate > 0 {
		cmd += " MAX_RATE " + strconv.Itoa(b.o.MaxRate)
	}
	if b.o.NoVerify {
		cmd += " NOVERIFY_CHECKSUMS"
	}
	return cmd
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Start implements backup.Source.
func (b *BaseBackup) Start(ctx context.Context, prev *backup.Manifest) (s backup.Start, err error) {
	if b.c, err = dial(ctx, b.dsn, b.o.Notice); err != nil {
		return s, err
	}
	srv, err := b.c.identify()
	if err != nil {
		return s, err
	}
	b.version = srv.Version
	at, why, err := b.begin(prev)
	if err != nil {
		return s, err
	}
	lsn, tli, err := position(at)
	if err != nil {
		return s, err
	}
	b.start = backup.Start{
		System: srv.System, PGVersion: srv.Version, Timeline: tli, LSN: lsn, SegmentSize: srv.SegmentSize,
		Checksums: srv.Checksums, Time: srv.Time, FullRead: why,
	}
	spaces, err := b.c.rows()
	if err != nil {
		return s, err
	}
	for _, r := range spaces {
		if err := b.addSpace(r); err != nil {
			return s, err
		}
	}
	return b.start, b.copyBegins()
}

// begin sends the command, for what changed since prev where the server can tell, and else for everything: why says why.
// It returns the row of the position.
func (b *BaseBackup) begin(prev *backup.Manifest) (at [][]string, why string, err error) {
	if prev != nil {
		if why, err = b.upload(prev); err != nil {
			return nil, "", err
		}
	}
	if prev != nil && why == "" {
		if at, err = b.ask(", INCREMENTAL"); err == nil {
			b.incremental = true
			return at, "", nil
		}
		var pe *pgconn.PgError
		if !errors.As(err, &pe) {
			return nil, "", err
		}
		why = "the server refuses: " + pe.Message
		if err := b.c.ready(); err != nil {
			return nil, "", err
		}
	}
	at, err = b.ask("")
	return at, why, err
}

func (b *BaseBackup) ask(more string) ([][]string, error) {
	if err := b.c.query(b.command(more)); err != nil {
		return nil, err
	}
	return b.c.rows()
}

// position reads a row of an LSN and a timeline.
func position(rows [][]string) (backup.LSN, backup.Timeline, error) {
	if len(rows) != 1 || len(rows[0]) < 2 {
		return 0, 0, errors.New("the server didn't say where the backup is in its log")
	}
	lsn, err := backup.ParseLSN(rows[0][0])
	if err != nil {
		return 0, 0, err
	}
	tli, err := strconv.ParseUint(rows[0][1], 10, 32)
	return lsn, backup.Timeline(tli), err
}

// addSpace takes a row of OID, location and kB; the data directory's has no OID.
func (b *BaseBackup) addSpace(r []string) error {
	if len(r) < 3 {
		return errors.New("the server described a tablespace in an unknown way")
	}
	if kb, err := strconv.ParseInt(r[2], 10, 64); err == nil {
		b.start.Total += kb << 10
	}
	b.order = append(b.order, cmp.Or(r[0], "base"))
	if r[0] == "" {
		return nil
	}
	oid, err := strconv.ParseUint(r[0], 10, 32)
	if err != nil {
		return fmt.Errorf("tablespace OID %q: %w", r[0], err)
	}
	if !path.IsAbs(r[1]) {
		b.inside[r[0]] = r[1]
		return nil
	}
	b.start.Tablespaces = append(b.start.Tablespaces, backup.Tablespace{OID: uint32(oid), Location: r[1]})
	return nil
}

func (b *BaseBackup) copyBegins() error {
	typ, n, err := b.c.header()
	if err != nil {
		return err
	}
	if typ != 'H' {
		return fmt.Errorf("the server sent %q where the files were expected", typ)
	}
	if _, err := b.c.r.Discard(n); err != nil {
		return err
	}
	if !b.old() {
		return b.message()
	}
	if len(b.order) == 0 {
		return errors.New("the server announced no files")
	}
	b.next = &archive{b.order[0]}
	b.order = b.order[1:]
	return nil
}

// message reads messages until there is data of the present archive, another archive begins, or the copy ends.
func (b *BaseBackup) message() error {
	for {
		typ, n, err := b.c.header()
		if err != nil {
			return err
		}
		if typ == 'c' {
			return b.copyEnds(n)
		}
		if typ != 'd' || n == 0 {
			return fmt.Errorf("the server sent %q within the files", typ)
		}
		if b.old() {
			b.left = n
			return nil
		}
		kind, err := b.c.r.ReadByte()
		if err != nil {
			return err
		}
		n--
		switch kind {
		case 'd':
			b.left = n
			return nil
		case 'n':
			return b.archiveBegins(n)
		case 'p':
			if _, err := b.c.r.Discard(n); err != nil {
				return err
			}
		default:
			return fmt.Errorf("the server sent data of an unknown kind %q", kind)
		}
	}
}

func (b *BaseBackup) copyEnds(n int) error {
	if _, err := b.c.r.Discard(n); err != nil {
		return err
	}
	if b.old() && len(b.order) > 0 {
		return b.copyBegins()
	}
	b.finished = true
	return nil
}

func (b *BaseBackup) archiveBegins(n int) error {
	body, err := b.c.body(n)
	if err != nil {
		return err
	}
	name, rest, ok := strings.Cut(string(body), "\x00")
	if !ok || !strings.HasSuffix(rest, "\x00") { // the location, which is known already
		return errors.New("the server began an archive without a name")
	}
	b.next = &archive{name}
	return nil
}

// archiveData is the bytes of the present archive.
type archiveData struct{ b *BaseBackup }

func (a archiveData) Read(p []byte) (int, error) {
	b := a.b
	for b.left == 0 {
		if b.finished || b.next != nil {
			return 0, io.EOF
		}
		if err := b.message(); err != nil {
			return 0, err
		}
	}
	n, err := b.c.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// Next implements backup.Source.
func (b *BaseBackup) Next() (backup.Entry, error) {
	f, err := b.nextFile()
	b.content = b.tar
	if err != nil || !b.incremental || f.Type != backup.TypeFile {
		return backup.Entry{File: f}, err
	}
	return b.complete(f)
}

// nextFile goes to the next file of the archives.
func (b *BaseBackup) nextFile() (backup.File, error) {
	for {
		if b.tar == nil {
			if b.next == nil {
				return backup.File{}, b.end()
			}
			if err := b.openArchive(); err != nil {
				return backup.File{}, err
			}
		}
		if len(b.folders) > 0 {
			f := b.folders[0]
			b.folders = b.folders[1:]
			return f, nil
		}
		h, err := b.tar.Next()
		if errors.Is(err, io.EOF) {
			b.tar = nil
			if _, err := io.Copy(io.Discard, archiveData{b}); err != nil { // the padding
				return backup.File{}, err
			}
			continue
		}
		if err != nil {
			return backup.File{}, err
		}
		f, err := fileOf(h, b.space)
		if f.Path == "." || f.Type == backup.TypeLink && path.Dir(f.Path) == "pg_tblspc" {
			continue // links to tablespaces are made anew from the map
		}
		f.Path = path.Join(b.below, f.Path)
		return f, err
	}
}

// end is io.EOF, where the copy has really ended.
func (b *BaseBackup) end() error {
	if !b.finished {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

func (b *BaseBackup) openArchive() error {
	a := b.next
	b.next, b.space, b.below = nil, 0, ""
	b.tar = tar.NewReader(archiveData{b})
	oid := strings.TrimSuffix(a.name, ".tar")
	if oid == "base" {
		return nil
	}
	if b.below = b.inside[oid]; b.below != "" {
		for _, p := range []string{path.Dir(b.below), b.below} {
			b.folders = append(b.folders, backup.File{Path: p, Type: backup.TypeDir, Mode: 0o700, ModTime: b.start.Time.Truncate(time.Second)})
		}
		return nil
	}
	for i, t := range b.start.Tablespaces {
		if strconv.FormatUint(uint64(t.OID), 10) == oid {
			b.space = i + 1
			return nil
		}
	}
	return fmt.Errorf("the server sent an unknown archive %q", a.name)
}

func fileOf(h *tar.Header, space int) (backup.File, error) {
	f := backup.File{
		Space: space, Path: path.Clean(h.Name), Mode: fs.FileMode(h.Mode).Perm(), ModTime: h.ModTime.Truncate(time.Second).UTC(),
	}
	switch h.Typeflag {
	case tar.TypeReg:
		f.Size = h.Size
	case tar.TypeDir:
		f.Type = backup.TypeDir
	case tar.TypeSymlink:
		f.Type, f.Link = backup.TypeLink, h.Linkname
	default:
		return f, fmt.Errorf("%s is of an unexpected kind %q", h.Name, h.Typeflag)
	}
	return f, nil
}

// Read implements backup.Source.
func (b *BaseBackup) Read(p []byte) (int, error) { return b.content.Read(p) }

// Stop implements backup.Source.
func (b *BaseBackup) Stop() (s backup.Stop, err error) {
	rows, err := b.c.rows()
	if err != nil {
		return s, explainStop(err)
	}
	if s.LSN, s.Timeline, err = position(rows); err != nil {
		return s, err
	}
	if err := b.c.ready(); err != nil {
		return s, explainStop(err)
	}
	s.Time, err = b.c.now()
	return s, err
}

// explainStop says what to do about a database whose pages are damaged: the server says so when the backup ends.
func explainStop(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "XX001" {
		return fmt.Errorf("%w: pages of the database are damaged (the warnings name them); no backup was made of them, the older ones are untouched", err)
	}
	return err
}
