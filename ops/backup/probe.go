package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Probe tries out everything that backups need of a repository, with a small object that it removes again: writing,
// reading back, ranges, listing, refusing to overwrite, deleting. It returns how far the store's clock is from ours.
func (r Repository) Probe(ctx context.Context, service string) (skew time.Duration, err error) {
	key := service + "/probe/" + rand.Text()
	content := []byte(rand.Text())
	defer func() { err = errors.Join(err, r.Store.Delete(context.WithoutCancel(ctx), key)) }()
	if err := r.Store.Put(ctx, key, bytes.NewReader(content), PutOptions{IfAbsent: true}); err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	rc, err := r.Store.Get(ctx, key, 3, 10)
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	got, err := io.ReadAll(rc)
	if err := errors.Join(err, rc.Close()); err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	if !bytes.Equal(got, content[3:13]) {
		return 0, errors.New("read: the store doesn't return the range that was asked for")
	}
	err = r.Store.Put(ctx, key, strings.NewReader("other"), PutOptions{IfAbsent: true})
	if !errors.Is(err, ErrExists) {
		return 0, fmt.Errorf("overwrite: the store must refuse a conditional write (If-None-Match) to a taken name, and answered: %w", orSuccess(err))
	}
	for o, err := range r.Store.List(ctx, key) {
		if err != nil {
			return 0, fmt.Errorf("list: %w", err)
		}
		if o.Key == key {
			return time.Since(o.Modified), nil
		}
	}
	return 0, errors.New("list: an object that was just written isn't listed")
}

// orSuccess makes an error of none.
func orSuccess(err error) error {
	if err == nil {
		return errors.New("success")
	}
	return err
}
