package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/covetpy/covet/ops/backup"
)

// nonceKey is the metadata that tells our own write from another's when an answer was lost and the retry finds the key
// taken.
const nonceKey = "covet-write"

// Put implements backup.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, o backup.PutOptions) error {
	p := &put{Store: s, key: key, ifAbsent: o.IfAbsent, nonce: rand.Text(), own: make(chan struct{}, 1)}
	s.parts.begin()
	defer s.parts.end()
	first, last, err := p.fill(r)
	if err == nil && last {
		err = p.single(ctx, first.body)
		p.release(first, err)
	} else if err == nil {
		err = p.multipart(ctx, first, r)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", s.where(key), explain(err))
	}
	return nil
}

// put is one object on its way up.
type put struct {
	*Store
	key      string
	ifAbsent bool
	nonce    string
	own      chan struct{} // holds one when nothing uses the buffer of its own
	begun    bool
}

// fill reads the next part; last is true when r ended with it.
func (p *put) fill(r io.Reader) (next part, last bool, err error) {
	lim := io.LimitReader(r, partSize)
	if sized, ok := r.(interface{ Len() int }); ok && !p.begun && sized.Len() < partSize {
		next.body = make([]byte, sized.Len(), sized.Len()+1) // small objects need no part-sized buffer
	} else {
		next = p.buffer()
	}
	n, err := io.ReadFull(lim, next.body[:cap(next.body)])
	next.body = next.body[:n]
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return next, true, nil
	}
	return next, false, err
}

// buffer waits until another buffer may be used.
func (p *put) buffer() part {
	var next part
	if p.begun {
		select {
		case <-p.own:
		case p.parts.shared <- struct{}{}:
			next.shared = true
		}
	}
	p.begun = true
	next.body = p.parts.lend()
	return next
}

// release gives a part's buffer back; from that of a failed one a request may still be reading.
func (p *put) release(done part, err error) {
	if err == nil && cap(done.body) == partSize {
		p.parts.back(done.body)
	}
	if done.shared {
		<-p.parts.shared
	} else {
		p.own <- struct{}{}
	}
}

func (p *put) condition() *string {
	if p.ifAbsent {
		return aws.String("*")
	}
	return nil
}

// unsigned spares hashing a body that TLS protects already.
func (p *put) unsigned(o *awss3.Options) {
	if p.https {
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
}

func (p *put) single(ctx context.Context, body []byte) error {
	err := p.digested(body, func(md5 *string) error {
		_, err := p.client.PutObject(ctx, &awss3.PutObjectInput{
			Bucket: &p.o.Bucket, Key: p.Store.key(p.key), Body: bytes.NewReader(body), ContentMD5: md5,
			ContentLength: aws.Int64(int64(len(body))), IfNoneMatch: p.condition(), Metadata: map[string]string{nonceKey: p.nonce},
			ServerSideEncryption: types.ServerSideEncryption(p.o.SSE), SSEKMSKeyId: optional(p.o.KMSKeyID),
		}, p.unsigned)
		return err
	})
	return p.settle(ctx, err)
}

func (p *put) multipart(ctx context.Context, first part, r io.Reader) error {
	up, err := p.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{
		Bucket: &p.o.Bucket, Key: p.Store.key(p.key), Metadata: map[string]string{nonceKey: p.nonce},
		ServerSideEncryption: types.ServerSideEncryption(p.o.SSE), SSEKMSKeyId: optional(p.o.KMSKeyID),
	})
	if err != nil {
		return err
	}
	parts, err := p.upload(ctx, up.UploadId, first, r)
	if err == nil {
		_, err = p.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
			Bucket: &p.o.Bucket, Key: p.Store.key(p.key), UploadId: up.UploadId, IfNoneMatch: p.condition(),
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		err = p.settle(ctx, err)
	}
	if err == nil {
		return nil
	}
	_, abortErr := p.client.AbortMultipartUpload(context.WithoutCancel(ctx), &awss3.AbortMultipartUploadInput{
		Bucket: &p.o.Bucket, Key: p.Store.key(p.key), UploadId: up.UploadId,
	})
	if abortErr != nil && !isNotFound(abortErr) {
		err = errors.Join(err, fmt.Errorf("and the unfinished upload could not be removed: %w", abortErr))
	}
	return err
}

// upload sends next and the rest of r, a few parts at a time.
func (p *put) upload(ctx context.Context, id *string, next part, r io.Reader) ([]types.CompletedPart, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(partsInFlight)
	var mu sync.Mutex
	var done []types.CompletedPart
	var readErr error
	for number, last := int32(1), false; ; number++ {
		sent := next
		g.Go(func() (err error) {
			defer func() { p.release(sent, err) }()
			body := sent.body
			var out *awss3.UploadPartOutput
			err = p.digested(body, func(md5 *string) (err error) {
				out, err = p.client.UploadPart(ctx, &awss3.UploadPartInput{
					Bucket: &p.o.Bucket, Key: p.Store.key(p.key), UploadId: id, PartNumber: &number, ContentMD5: md5,
					Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
				}, p.unsigned)
				return err
			})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done = append(done, types.CompletedPart{ETag: out.ETag, PartNumber: &number})
			return nil
		})
		if last || ctx.Err() != nil {
			break
		}
		if next, last, readErr = p.fill(r); readErr != nil || len(next.body) == 0 {
			p.release(next, readErr)
			break
		}
	}
	if err := errors.Join(readErr, g.Wait()); err != nil {
		return nil, err
	}
	slices.SortFunc(done, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	return done, nil
}

// settle turns the answer to a conditional write into what happened: where the key was taken by an earlier try of the
// same write, whose answer was lost, the write has succeeded.
func (p *put) settle(ctx context.Context, err error) error {
	if err == nil || !p.ifAbsent || (!isTaken(err) && !isNotFound(err)) {
		return err
	}
	head, headErr := p.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &p.o.Bucket, Key: p.Store.key(p.key)})
	if headErr != nil {
		return errors.Join(err, headErr)
	}
	if head.Metadata[nonceKey] == p.nonce {
		return nil
	}
	return backup.ErrExists
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
