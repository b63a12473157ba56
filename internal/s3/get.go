package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

// Get implements backup.Store. A connection that breaks while the body is read is made again at the place it broke.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	b := &body{ctx: ctx, s: s, key: key, off: off, end: -1, size: -1}
	if n == 0 {
		n = 1 // S3 has no empty range: ask for a byte and don't read it
		b.limit = 0
	} else {
		b.limit = n
	}
	if n > 0 {
		b.end = off + n
	}
	if err := b.open(); err != nil {
		return nil, fmt.Errorf("get %s: %w", s.where(key), explain(err))
	}
	return b, nil
}

// body reads an object and resumes when the connection is lost.
type body struct {
	ctx   context.Context
	s     *Store
	key   string
	etag  *string
	off   int64 // of the next byte
	end   int64 // exclusive; -1: the object's end
	limit int64 // bytes still wanted; negative: all
	tries int   // in a row without a byte
	size  int64 // of what was asked for, as the server said first; -1: it didn't
	r     io.ReadCloser
	eof   bool
}

func (b *body) open() error {
	in := &awss3.GetObjectInput{Bucket: &b.s.o.Bucket, Key: b.s.key(b.key), IfMatch: b.etag}
	if b.end >= 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", b.off, b.end-1))
	} else if b.off > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", b.off))
	}
	out, err := b.s.client.GetObject(b.ctx, in)
	if isBehindEnd(err) {
		b.eof = true
		return nil
	}
	if err != nil {
		return err
	}
	if b.etag == nil && out.ContentLength != nil {
		b.size = *out.ContentLength
	}
	b.etag = out.ETag
	b.r = out.Body
	return nil
}

// Size is how many bytes there are to read, or less than 0 where that isn't known.
func (b *body) Size() int64 { return b.size }

func (b *body) Read(p []byte) (int, error) {
	if b.limit >= 0 && int64(len(p)) > b.limit {
		p = p[:b.limit]
	}
	if b.eof || len(p) == 0 {
		return 0, io.EOF
	}
	for {
		n, err := b.r.Read(p)
		b.off += int64(n)
		if b.limit > 0 {
			b.limit -= int64(n)
		}
		if n > 0 {
			b.tries = 0
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil // the same error comes back with the next read
		}
		if err := b.reopen(err); err != nil {
			return 0, fmt.Errorf("get %s at byte %d: %w", b.s.where(b.key), b.off, explain(err))
		}
		if b.eof {
			return 0, io.EOF
		}
	}
}

// reopen asks again for what is left, after a pause that grows with every try that brought nothing.
func (b *body) reopen(cause error) error {
	b.tries++
	if b.tries > 5 || b.ctx.Err() != nil {
		return cause
	}
	select {
	case <-time.After(time.Duration(b.tries*b.tries) * 50 * time.Millisecond):
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
	if err := b.r.Close(); err != nil {
		cause = errors.Join(cause, err)
	}
	b.r = io.NopCloser(failed{cause})
	return b.open()
}

// failed is the reader of a body that could not be opened again.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

func (b *body) Close() error {
	if b.r == nil {
		return nil
	}
	return b.r.Close()
}
