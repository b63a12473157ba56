package restore

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const (
	// writeOut is how many bytes in a row the kernel is given before it is told to write them.
	writeOut = 2 << 20
	// reserveFrom is the size of file from which it pays to take its blocks at once.
	reserveFrom = 1 << 20
)

// fileWriter keeps the file that was used last open, and the disk busy. Left alone, the kernel begins to write when a tenth
// of the memory waits to be written: until then the disk would rest, and the sync at the end would take as much longer.
type fileWriter struct {
	w         *copier
	file      int32
	f         *os.File
	from, end int64 // what the kernel hasn't been told to write yet
}

func (fw *fileWriter) open(file int32) error {
	if fw.f != nil && fw.file == file {
		return nil
	}
	if err := fw.close(); err != nil {
		return err
	}
	f, err := os.OpenFile(fw.w.path(&fw.w.Manifest.Items[file]), os.O_RDWR, 0)
	fw.f, fw.file = f, file
	return err
}

func (fw *fileWriter) close() error {
	if fw.f == nil {
		return nil
	}
	fw.writeOut()
	f := fw.f
	fw.f = nil
	return f.Close()
}

func (fw *fileWriter) write(p piece, b []byte) error {
	if err := fw.open(p.file); err != nil {
		return err
	}
	n, err := fw.f.WriteAt(b, p.at)
	fw.w.written.Add(int64(n))
	if err != nil {
		return err
	}
	if p.at != fw.end || fw.end-fw.from >= writeOut {
		fw.writeOut()
		fw.from = p.at
	}
	fw.end = p.at + int64(n)
	return nil
}

// writeOut tells the kernel to begin. What fails, and whether it can, the sync at the end says.
func (fw *fileWriter) writeOut() {
	const begin = 2 // SYNC_FILE_RANGE_WRITE
	if fw.end > fw.from {
		_ = syscall.SyncFileRange(int(fw.f.Fd()), fw.from, fw.end-fw.from, begin)
	}
	fw.from, fw.end = 0, 0
}

func (fw *fileWriter) read(p piece, b []byte) error {
	if err := fw.open(p.file); err != nil {
		return err
	}
	_, err := io.ReadFull(io.NewSectionReader(fw.f, p.at, int64(len(b))), b)
	return err
}

// reserve takes a large file's blocks: next to each other, and a disk that is too small says so before anything is fetched.
func reserve(f *os.File, size int64) error {
	if size < reserveFrom {
		return nil
	}
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &os.PathError{Op: "reserve room for", Path: f.Name(), Err: err}
	}
	return nil // a file system that can't, needn't
}
