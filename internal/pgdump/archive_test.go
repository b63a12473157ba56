package pgdump

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	pgtest "github.com/covetpy/covet/test/pg"
)

// pieces is a sink that keeps what it gets.
type pieces struct {
	names []string
	whole map[string][]byte
}

func (p *pieces) Begin(path string) error {
	p.names = append(p.names, path)
	return nil
}

func (p *pieces) Write(b []byte) (int, error) {
	last := p.names[len(p.names)-1]
	p.whole[last] = append(p.whole[last], b...)
	return len(b), nil
}

func (*pieces) Expect(int64) {}

func (p *pieces) joined() []byte {
	var out []byte
	for _, n := range p.names {
		out = append(out, p.whole[n]...)
	}
	return out
}

// archive is what pg_dump writes of a database with a little of everything.
func archive(t *testing.T) []byte {
	t.Helper()
	pg := pgtest.Start(t, pgtest.Options{})
	pg.Exec("CREATE TABLE a AS SELECT n, repeat('x', n) t FROM generate_series(1, 3000) n", "CREATE TABLE empty (n int)",
		"SELECT lo_from_bytea(0, decode(repeat('ab', 300000), 'hex'))", "SELECT lo_from_bytea(0, '')",
		"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT '"+strings.Repeat("long ", 80000)+"' $$")
	out, err := pgtest.Command(t, filepath.Join(pg.Bin, "pg_dump"), "-Fc", "-Z0", "-d", pg.DSN()).Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// An archive is divided at its tables, however it comes, and the pieces together are the archive.
func TestSplit(t *testing.T) {
	t.Parallel()
	whole := archive(t)
	for name, minor := range map[string]byte{"as it is": 14, "format 1.15": 15, "format 1.16": 16} {
		in := inFormat(t, whole, minor)
		got := &pieces{whole: map[string][]byte{}}
		tables, err := split(iotest.HalfReader(bytes.NewReader(in)), "1/", got, func(*Contents) {})
		if err != nil || tables != 2 || !bytes.Equal(got.joined(), in) || len(got.names) != 4 {
			t.Errorf("%s: %d tables, %v, %v; the pieces are the archive: %t", name, tables, got.names, err, bytes.Equal(got.joined(), in))
		}
		c, err := ReadContents(bytes.NewReader(got.whole["1/toc"]))
		if err != nil || c.Database != "postgres" {
			t.Errorf("%s: %+v %v", name, c, err)
		}
	}
}

// inFormat writes an archive of format 1.14 as a newer pg_dump would.
func inFormat(t *testing.T, in []byte, minor byte) []byte {
	t.Helper()
	if minor == 14 {
		return in
	}
	var toc bytes.Buffer
	s := newScanner(bytes.NewReader(in), &toc)
	c, err := readContents(s)
	if err != nil {
		t.Fatal(err)
	}
	s.flush()
	out := append([]byte{}, in[:11]...)
	out[6] = minor
	out = append(out, 0) // not compressed, in a byte
	at := 16
	for _, e := range c.Entries {
		if minor >= relKind {
			kind := bytes.LastIndex(in[at:e.offset], tail(e)) // before the owner
			if kind < 0 {
				t.Fatalf("entry %d has no owner", e.ID)
			}
			out = append(append(out, in[at:at+kind]...), number('r')...)
			at += kind
		}
		out = append(out, in[at:e.offset+1+offsetBytes]...)
		at = int(e.offset) + 1 + offsetBytes
	}
	return append(out, in[at:]...)
}

// tail is how an entry ends: owner, "false", dependencies, the end of them.
func tail(e Entry) []byte {
	b := text(e.Owner)
	if e.Owner == "" {
		b = number(-1) // there is none
	}
	b = append(b, text("false")...)
	for _, d := range e.Deps {
		b = append(b, text(fmt.Sprint(d))...)
	}
	return append(b, number(-1)...)
}

func text(s string) []byte { return append(number(len(s)), s...) }

func number(n int) []byte {
	sign := byte(0)
	if n < 0 {
		sign, n = 1, -n
	}
	return binary.LittleEndian.AppendUint32([]byte{sign}, uint32(n))
}

// What isn't an archive, or only part of one, is refused.
func TestSplitRefuses(t *testing.T) {
	t.Parallel()
	whole := archive(t)
	newer, packed := slices.Clone(whole), slices.Clone(whole)
	newer[6], packed[12] = 17, 6
	for name, c := range map[string]struct {
		in   []byte
		says string
	}{
		"nothing": {nil, "EOF"}, "something else": {[]byte("SELECT 1;\nSELECT 2;"), "doesn't begin"}, "newer": {newer, "1.17"}, "compressed": {packed, "compressed"},
		"half": {whole[:len(whole)/2], "EOF"}, "without its last table": {withoutLast(t, whole), "no data of"},
	} {
		_, err := split(bytes.NewReader(c.in), "1/", &pieces{whole: map[string][]byte{}}, func(*Contents) {})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func withoutLast(t *testing.T, whole []byte) []byte {
	t.Helper()
	got := &pieces{whole: map[string][]byte{}}
	if _, err := split(bytes.NewReader(whole), "", got, func(*Contents) {}); err != nil {
		t.Fatal(err)
	}
	got.names = got.names[:len(got.names)-1]
	return got.joined()
}

func FuzzContents(f *testing.F) {
	f.Add([]byte("PGDMP\x01\x0e\x00\x04\x08\x01\x00\x00\x00\x00\x00"))
	f.Add([]byte("PGDMP\x01\x10\x00\x04\x08\x01\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		got := &pieces{whole: map[string][]byte{}}
		_, err := split(bytes.NewReader(b), "1/", got, func(*Contents) {})
		if err == nil && !bytes.Equal(got.joined(), b) {
			panic("the pieces are not the archive")
		}
	})
}
