package pgdump

import (
	"errors"
	"fmt"
	"io"

	"github.com/covetpy/covet/ops/backup"
)

// The versions of the archive format that are known: those of pg_dump 12 to 18.
const (
	oldestMinor = 14
	algorithm   = 15 // says how it is compressed by one byte
	relKind     = 16 // has each relation's kind
	newestMinor = 16
)

// offsetSet says that the place of an entry's data is known. pg_dump can't say so: it writes without going back.
const offsetSet = 2

// tableData is the kind of the entries that have the rows of a table.
const tableData = "TABLE DATA"

// What a block of data begins with.
const (
	blockData  = 1
	blockBlobs = 3
)

// Contents is an archive's table of contents.
type Contents struct {
	Database string // that was dumped
	Server   string // version of it
	Dump     string // version of pg_dump
	Entries  []Entry
}

// Entry is one thing of an archive.
type Entry struct {
	ID        int
	Tag       string // its name, and before it that of its table where it has one
	Kind      string // TABLE, TABLE DATA, INDEX, …
	Namespace string
	Owner     string
	Deps      []int  // IDs of others
	Defn      string // of the database alone
	offset    int64  // in the table of contents, of where its data is
	hasData   bool
}

// offsetBytes is the size of an offset in the table of contents; a flag is before it.
const offsetBytes = 8

// readContents goes over the table of contents.
func readContents(s *scanner) (*Contents, error) {
	if string(s.take(5)) != "PGDMP" {
		return nil, errors.Join(s.err, errors.New("it doesn't begin as an archive of pg_dump does"))
	}
	v := s.take(3)
	major, minor := v[0], v[1]
	if s.err == nil && (major != 1 || minor < oldestMinor || minor > newestMinor) {
		return nil, fmt.Errorf("pg_dump wrote archive format %d.%d, and only 1.%d to 1.%d are known here", major, minor, oldestMinor, newestMinor)
	}
	sizes := s.take(3)
	s.intSize, s.offSize = int(sizes[0]), int(sizes[1])
	if s.err == nil && (s.intSize != 4 || s.offSize != offsetBytes || sizes[2] != 1) {
		return nil, fmt.Errorf("an archive with numbers of %d, offsets of %d bytes and format %d is not known here", s.intSize, s.offSize, sizes[2])
	}
	var compressed int
	if minor >= algorithm {
		compressed = int(s.byte())
	} else {
		compressed = s.int()
	}
	if compressed != 0 && s.err == nil {
		return nil, errors.New("the archive is compressed, and pg_dump was asked not to")
	}
	for range 7 { // when it was made
		s.int()
	}
	c := &Contents{Database: s.text(), Server: s.text(), Dump: s.text()}
	for n := s.int(); n > 0 && s.err == nil; n-- {
		c.Entries = append(c.Entries, readEntry(s, minor))
	}
	return c, s.err
}

func readEntry(s *scanner, minor byte) Entry {
	e := Entry{ID: s.int(), hasData: s.int() != 0}
	s.skipString() // OIDs
	s.skipString()
	e.Tag, e.Kind = s.text(), s.text()
	s.int() // section
	if e.Kind == "DATABASE" {
		e.Defn = s.text()
	} else {
		s.skipString()
	}
	s.skipString() // how to drop it
	s.skipString() // how to copy into it
	e.Namespace = s.text()
	s.skipString() // tablespace
	s.skipString() // access method
	if minor >= relKind {
		s.int()
	}
	e.Owner = s.text()
	s.skipString() // with OIDs: never
	for id, ok := s.id(); ok; id, ok = s.id() {
		e.Deps = append(e.Deps, id)
	}
	e.offset = s.at()
	s.skip(1 + offsetBytes)
	return e
}

// ReadContents reads a table of contents by itself.
func ReadContents(r io.Reader) (*Contents, error) {
	c, err := readContents(newScanner(r, io.Discard))
	if err != nil {
		return nil, fmt.Errorf("read the dump's table of contents: %w", err)
	}
	return c, nil
}

// Names of the pieces of one database's dump, in its folder.
const (
	contentsName = "toc"
	dataSuffix   = ".dat"
)

func dataName(id int) string { return fmt.Sprint(id, dataSuffix) }

// split divides an archive as it comes into pieces in folder, and says of how many tables there was data. known is called
// with the table of contents, before the data.
func split(r io.Reader, folder string, to backup.DumpSink, known func(*Contents)) (tables int, err error) {
	if err := to.Begin(folder + contentsName); err != nil {
		return 0, err
	}
	s := newScanner(r, to)
	c, err := readContents(s)
	if err != nil {
		return 0, fmt.Errorf("read what pg_dump writes: %w", err)
	}
	if s.flush(); s.err != nil {
		return 0, s.err
	}
	known(c)
	there := map[int]bool{}
	for s.more() {
		id, err := splitBlock(s, folder, to)
		if err != nil {
			return tables, fmt.Errorf("read what pg_dump writes, data of entry %d: %w", id, err)
		}
		there[id] = true
	}
	if s.err != nil {
		return tables, s.err
	}
	for _, e := range c.Entries {
		if e.hasData && !there[e.ID] {
			return tables, fmt.Errorf("pg_dump wrote no data of %s %s.%s", e.Kind, e.Namespace, e.Tag)
		}
		if e.Kind == tableData {
			tables++
		}
	}
	return tables, nil
}

// splitBlock goes over one block of data.
func splitBlock(s *scanner, folder string, to backup.DumpSink) (id int, err error) {
	kind := s.buf[s.pos]
	if id = peekInt(s); s.err != nil {
		return id, s.err
	}
	if err := to.Begin(folder + dataName(id)); err != nil {
		return id, err
	}
	s.skip(1)
	s.int()
	switch kind {
	case blockData:
		skipChunks(s)
	case blockBlobs:
		for oid := s.int(); oid != 0 && s.err == nil; oid = s.int() {
			skipChunks(s)
		}
	default:
		return id, fmt.Errorf("a block of the unknown kind %d", kind)
	}
	s.flush()
	return id, s.err
}

// peekInt is the number behind the next byte, which stays where it is.
func peekInt(s *scanner) int {
	s.take(1 + 1 + s.intSize)
	s.pos -= 1 + s.intSize
	if s.err != nil {
		return 0
	}
	id := s.int()
	s.pos -= 1 + 1 + s.intSize
	return id
}

// skipChunks goes over data until its end.
func skipChunks(s *scanner) {
	for n := s.int(); n != 0 && s.err == nil; n = s.int() {
		if n < 0 {
			s.fail(fmt.Errorf("a chunk of %d bytes", n))
			return
		}
		s.skip(int64(n))
	}
}
