package s3

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// expiredCodes are the answers of a server to credentials that were good once.
var expiredCodes = []string{"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired", "InvalidAccessKeyId"}

func expired(err error) bool { return slices.Contains(expiredCodes, code(err)) }

// renewals bounds how often credentials are read anew: many requests fail at the same moment.
const renewals = time.Second

// renewing are credentials that are read again from where they are when the server says that they have expired: whoever
// renews them there needn't end what runs.
type renewing struct {
	load func(ctx context.Context) (aws.CredentialsProvider, error)

	mu      sync.Mutex
	now     aws.CredentialsProvider
	looked  time.Time // when they were read last
	changed time.Time // when they were others then
}

func newRenewing(now aws.CredentialsProvider, load func(ctx context.Context) (aws.CredentialsProvider, error)) *renewing {
	return &renewing{load: load, now: now}
}

// Retrieve implements aws.CredentialsProvider.
func (r *renewing) Retrieve(ctx context.Context) (aws.Credentials, error) {
	r.mu.Lock()
	now := r.now
	r.mu.Unlock()
	c, err := now.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = &uncredited{err}
	}
	return c, err
}

// uncredited is the error of a request that had no credentials to be signed with.
type uncredited struct{ err error }

// Error says it without the chain's last link, where each of its links had nothing: to ask a machine for a role that it hasn't got is
// no failure.
func (u *uncredited) Error() string {
	if strings.Contains(u.err.Error(), "no EC2 IMDS role found") {
		return "there are no credentials in the environment or in the AWS files, and this machine has no role"
	}
	return "the credentials could not be had: " + u.err.Error()
}

func (u *uncredited) Unwrap() error { return u.err }

// renewed reads the credentials again, and says whether they have become others lately: then what failed is worth another try.
func (r *renewing) renewed(ctx context.Context) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) < renewals {
		return time.Since(r.changed) < time.Minute
	}
	r.looked = time.Now()
	next, err := r.load(ctx)
	if err != nil {
		return false // they are gone: the server's answer says more
	}
	was, err1 := r.now.Retrieve(ctx)
	is, err2 := next.Retrieve(ctx)
	if err2 != nil || err1 == nil && same(was, is) {
		return time.Since(r.changed) < renewals
	}
	r.now, r.changed = next, time.Now()
	return true
}

func same(a, b aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}

// retryable says whether an answer is worth another try because the credentials are others now.
func (r *renewing) retryable(err error) aws.Ternary {
	switch {
	case !expired(err):
		return aws.UnknownTernary
	case r.renewed(context.Background()):
		return aws.TrueTernary
	}
	return aws.FalseTernary
}

// fromFiles are the credentials in the files that AWS_ACCESS_KEY_ID_FILE and its like name; nil where none does. What is in
// the environment itself comes first.
func fromFiles(getenv func(string) string) (aws.CredentialsProvider, error) {
	if getenv("AWS_ACCESS_KEY_ID") != "" || getenv("AWS_ACCESS_KEY_ID_FILE") == "" && getenv("AWS_SECRET_ACCESS_KEY_FILE") == "" {
		return nil, nil
	}
	var values [3]string
	for i, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		v, err := secret(getenv, name)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	if values[0] == "" || values[1] == "" {
		return nil, errors.New("AWS_ACCESS_KEY_ID_FILE and AWS_SECRET_ACCESS_KEY_FILE go together, and neither file may be empty")
	}
	return credentials.NewStaticCredentialsProvider(values[0], values[1], values[2]), nil
}

// secret is the value of NAME, or the content of the file that NAME_FILE names.
func secret(getenv func(string) string, name string) (string, error) {
	if v := getenv(name); v != "" {
		return v, nil
	}
	path := getenv(name + "_FILE")
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}
