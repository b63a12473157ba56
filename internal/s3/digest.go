package s3

import (
	"crypto/md5"
	"encoding/base64"
	"net/http"
	"strings"
)

// digested uploads a body, with its MD5 where the server demands one. AWS does for a bucket with object lock; others need
// none, and it would be a third of an upload's work.
func (s *Store) digested(body []byte, upload func(md5 *string) error) error {
	if s.digest.Load() {
		return upload(digestOf(body))
	}
	err := upload(nil)
	if !wantsDigest(err) {
		return err
	}
	s.digest.Store(true)
	return upload(digestOf(body))
}

func digestOf(body []byte) *string {
	sum := md5.Sum(body)
	text := base64.StdEncoding.EncodeToString(sum[:])
	return &text
}

func wantsDigest(err error) bool {
	return status(err) == http.StatusBadRequest && strings.Contains(err.Error(), "Content-MD5")
}
