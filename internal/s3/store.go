package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"github.com/covetpy/covet/ops/backup"
)

// List implements backup.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[backup.Object, error] {
	return func(yield func(backup.Object, error) bool) {
		pages := awss3.NewListObjectsV2Paginator(s.client, &awss3.ListObjectsV2Input{Bucket: &s.o.Bucket, Prefix: s.key(prefix)})
		cut := len(*s.key("")) // what the bucket has before our keys
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(backup.Object{}, fmt.Errorf("list %s: %w", s.where(prefix), explain(err)))
				return
			}
			for _, o := range page.Contents {
				obj := backup.Object{Key: (*o.Key)[cut:], Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}
				if !yield(obj, nil) {
					return
				}
			}
		}
	}
}

// Delete implements backup.Store. The keys go one a request: the call for many at once needs checksums that not every
// server agrees on.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	var mu sync.Mutex
	locked := &backup.LockedError{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, key := range keys {
		g.Go(func() error {
			_, err := s.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &s.o.Bucket, Key: s.key(key)})
			if err == nil || isNotFound(err) {
				return nil
			}
			until, is := s.lockedUntil(ctx, key, err)
			if !is {
				return fmt.Errorf("delete %s: %w", s.where(key), explain(err))
			}
			mu.Lock()
			defer mu.Unlock()
			locked.Add(key, until)
			return nil
		})
	}
	return errors.Join(g.Wait(), locked.OrNil())
}

// lockedUntil says whether a deletion failed because the object is protected, and until when; zero: for as long as a hold lasts.
func (s *Store) lockedUntil(ctx context.Context, key string, failure error) (time.Time, bool) {
	if code := status(failure); code != http.StatusForbidden && code != http.StatusBadRequest && code != http.StatusConflict {
		return time.Time{}, false
	}
	head, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &s.o.Bucket, Key: s.key(key)})
	if err != nil || head.ObjectLockRetainUntilDate == nil && head.ObjectLockLegalHoldStatus != types.ObjectLockLegalHoldStatusOn {
		return time.Time{}, false
	}
	if head.ObjectLockRetainUntilDate == nil {
		return time.Time{}, true
	}
	return *head.ObjectLockRetainUntilDate, true
}

// Sweep removes the uploads that writers which died before the given time left unfinished.
func (s *Store) Sweep(ctx context.Context, before time.Time) error {
	pages := awss3.NewListMultipartUploadsPaginator(s.client, &awss3.ListMultipartUploadsInput{Bucket: &s.o.Bucket, Prefix: s.key("")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list unfinished uploads of %s: %w", s.where(""), explain(err))
		}
		for _, up := range page.Uploads {
			if up.Initiated == nil || !up.Initiated.Before(before) {
				continue
			}
			_, err := s.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &s.o.Bucket, Key: up.Key, UploadId: up.UploadId})
			if err != nil && !isNotFound(err) {
				return fmt.Errorf("remove unfinished upload of %s: %w", *up.Key, explain(err))
			}
		}
	}
	return nil
}

// where names an object the way a person finds it.
func (s *Store) where(key string) string { return "s3://" + s.o.Bucket + "/" + *s.key(key) }

func status(err error) int {
	var re *awshttp.ResponseError
	if errors.As(err, &re) {
		return re.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	var ae smithy.APIError
	if errors.As(err, &ae) {
		return ae.ErrorCode()
	}
	return ""
}

func isNotFound(err error) bool {
	return err != nil && status(err) == http.StatusNotFound && code(err) != "NoSuchBucket"
}

// isTaken says that a conditional write lost: 412, or 409 when the winner was still writing.
func isTaken(err error) bool {
	return status(err) == http.StatusPreconditionFailed || status(err) == http.StatusConflict
}

func isBehindEnd(err error) bool {
	return err != nil && status(err) == http.StatusRequestedRangeNotSatisfiable
}
