package pgwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// Files are read ahead in blocks, by several at once; what reads them gets them in order.
const (
	blockSize   = 256 << 10
	blocksAhead = 12
)

// localFile is a file to be read, or one that is known to be unchanged.
type localFile struct {
	backup.File
	full      string
	unchanged bool
}

// event is the beginning of a file, or the next block of it.
type event struct {
	entry *backup.Entry
	block *block
}

type block struct {
	buf  []byte
	off  int64
	file *os.File
	last bool // of its file
	rel  relation
	isA  bool // rel is one: its pages are checked
	done chan struct{}
	err  error
}

// readAhead reads files and checks their pages.
type readAhead struct {
	start   backup.LSN
	verify  bool
	events  chan event
	work    chan *block
	free    chan []byte
	damaged atomic.Int64
	mu      sync.Mutex
	damage  []string // the first pages
	err     error    // that ended it; read after events is closed
}

// newReadAhead begins to read. It ends when everything is read, or with ctx.
func newReadAhead(ctx context.Context, files []localFile, start backup.LSN, verify bool, workers int) *readAhead {
	r := &readAhead{start: start, verify: verify, events: make(chan event, blocksAhead), work: make(chan *block), free: make(chan []byte, blocksAhead)}
	for range blocksAhead {
		r.free <- make([]byte, blockSize)
	}
	for range workers {
		go func() {
			for b := range r.work {
				r.read(b)
			}
		}()
	}
	go func() {
		defer close(r.events)
		defer close(r.work)
		for _, f := range files {
			if r.err = r.feed(ctx, f); r.err != nil {
				return
			}
		}
	}()
	return r
}

// feed hands out one file's blocks. One that has vanished is left out: its removal is in the log.
func (r *readAhead) feed(ctx context.Context, f localFile) error {
	e := &backup.Entry{File: f.File, Partial: f.unchanged}
	if f.Type != backup.TypeFile || f.unchanged {
		return r.emit(ctx, event{entry: e})
	}
	file, err := os.Open(f.full)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	e.Size, e.ModTime = info.Size(), info.ModTime().Truncate(time.Second).UTC()
	if err := r.emit(ctx, event{entry: e}); err != nil || e.Size == 0 {
		return errors.Join(err, file.Close())
	}
	rel, isA := parseRelation(f.Path)
	for off := int64(0); off < e.Size; off += blockSize {
		b := &block{off: off, file: file, last: off+blockSize >= e.Size, rel: rel, isA: isA, done: make(chan struct{})}
		select {
		case b.buf = <-r.free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b.buf = b.buf[:min(blockSize, e.Size-off)]
		if err := r.emit(ctx, event{block: b}); err != nil {
			return err
		}
		select {
		case r.work <- b:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (r *readAhead) emit(ctx context.Context, e event) error {
	select {
	case r.events <- e:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read reads one block. What a file has lost meanwhile is filled up with zeros: its truncation is in the log.
func (r *readAhead) read(b *block) {
	defer close(b.done)
	n, err := b.file.ReadAt(b.buf, b.off)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
		return
	}
	clear(b.buf[n:])
	if r.verify && b.isA {
		for at := 0; at+pageSize <= n; at += pageSize {
			if b.err = r.check(b, at); b.err != nil {
				return
			}
		}
	}
}

// check checks one page. A page that is being written may be read half old and half new: it is read again.
func (r *readAhead) check(b *block, at int) error {
	page := b.buf[at : at+pageSize]
	no := b.rel.segment*maxBlocks + uint32((b.off+int64(at))/pageSize)
	for try := range 5 {
		if soundPage(page, no, r.start) {
			return nil
		}
		time.Sleep(time.Duration(try*10) * time.Millisecond) // it takes its writer microseconds
		if n, err := b.file.ReadAt(page, b.off+int64(at)); err != nil && !errors.Is(err, io.EOF) {
			return err
		} else if n < pageSize {
			clear(page[n:])
			return nil
		}
	}
	if r.damaged.Add(1) <= 5 {
		r.mu.Lock()
		r.damage = append(r.damage, fmt.Sprintf("block %d of %s", no, b.file.Name()))
		r.mu.Unlock()
	}
	return nil
}
