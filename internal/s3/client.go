// Package s3 keeps a backup repository in a bucket of any S3-compatible object store.
package s3

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"
)

// Options says where a bucket is and how to speak to it. Credentials come from where the AWS tools take them: the
// AWS_* environment, the shared files, the container or instance role; or from the files that AWS_ACCESS_KEY_ID_FILE,
// AWS_SECRET_ACCESS_KEY_FILE and AWS_SESSION_TOKEN_FILE name.
type Options struct {
	Bucket string
	Prefix string // of every key; no slash at either end
	// Endpoint is the URL of the server; empty means Amazon's for the region.
	Endpoint string
	Region   string // empty: as the AWS tools find it, us-east-1 where an endpoint is given
	// VirtualHost puts the bucket's name into the host name even where an endpoint is given. Amazon's endpoints always
	// have it there; other servers understand the path style more often.
	VirtualHost bool
	CAFile      string // PEM file of the authorities to trust instead of the system's
	// SSE asks the server to encrypt: "", "AES256" (SSE-S3) or "aws:kms" (SSE-KMS, with KMSKeyID or the bucket's key).
	SSE      string
	KMSKeyID string
	// Attempts bounds how often one request is tried; 0 means 10.
	Attempts int
	// Timeout is how long the server may be silent before a request counts as failed; 0 means DefaultTimeout.
	Timeout time.Duration
	// Retrying is told, once, why a request is tried again; nil: nobody is.
	Retrying func(error)
}

// Validate reports the first thing wrong with o.
func (o Options) Validate() error {
	if o.Bucket == "" {
		return errors.New("the s3 repository has no bucket: write s3://BUCKET/PREFIX")
	}
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("s3 endpoint %q is not a URL: write https://HOST or http://HOST:PORT", o.Endpoint)
		}
	}
	switch o.SSE {
	case "", string(types.ServerSideEncryptionAes256), string(types.ServerSideEncryptionAwsKms):
		return nil
	}
	return fmt.Errorf("server-side encryption %q is unknown: use AES256 or aws:kms", o.SSE)
}

// Store implements backup.Store on a bucket.
type Store struct {
	client *awss3.Client
	o      Options
	https  bool
	digest atomic.Bool // the server has demanded an MD5 of what is uploaded
	parts  *partPool
}

// Open returns the store on a bucket. Nothing is asked of the server yet.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	var silent atomic.Bool
	hc, err := httpClient(o, &silent)
	if err != nil {
		return nil, err
	}
	load := func(ctx context.Context) (aws.Config, error) {
		opts := loadOptions(o, hc)
		files, err := fromFiles(os.Getenv)
		if err != nil {
			return aws.Config{}, err
		}
		if files != nil {
			opts = append(opts, config.WithCredentialsProvider(files))
		}
		return config.LoadDefaultConfig(ctx, opts...)
	}
	cfg, err := load(ctx)
	if err != nil {
		return nil, fmt.Errorf("s3 configuration: %w", err)
	}
	renew := newRenewing(cfg.Credentials, func(ctx context.Context) (aws.CredentialsProvider, error) {
		c, err := load(ctx)
		return c.Credentials, err
	})
	cfg.Credentials, cfg.Retryer = renew, retryer(o, renew, &silent)
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	client := awss3.NewFromConfig(cfg, func(so *awss3.Options) {
		if o.Endpoint != "" {
			so.BaseEndpoint = aws.String(o.Endpoint)
			so.UsePathStyle = !o.VirtualHost
		}
	})
	return &Store{client: client, o: o, parts: newPartPool(), https: !strings.HasPrefix(o.Endpoint, "http://")}, nil
}

// loadOptions are the settings of the SDK. Checksums that S3-compatible servers may not know are sent only where the
// protocol demands them: what is stored carries checksums of its own.
func loadOptions(o Options, hc *awshttp.BuildableClient) []func(*config.LoadOptions) error {
	opts := []func(*config.LoadOptions) error{
		config.WithHTTPClient(hc),
		config.WithLogger(logging.Nop{}), // what matters comes back as an error
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	}
	if o.Region != "" {
		opts = append(opts, config.WithRegion(o.Region))
	}
	return opts
}

// retryer decides what is tried again, and when.
func retryer(o Options, renew *renewing, silent *atomic.Bool) func() aws.Retryer {
	attempts := o.Attempts
	if attempts == 0 {
		attempts = 10
	}
	backoff := waiting(o.Retrying, silent)
	return func() aws.Retryer {
		return retry.NewStandard(func(ro *retry.StandardOptions) {
			ro.MaxAttempts = attempts
			ro.Backoff = backoff
			ro.RateLimiter = noRateLimit{}
			own := []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(untrusted), retry.IsErrorRetryableFunc(renew.retryable)}
			ro.Retryables = append(own, ro.Retryables...)
		})
	}
}

// waiting is how long to wait before the next try. It gives notice of the first error that doesn't pass by itself at once.
func waiting(notice func(error), silent *atomic.Bool) retry.BackoffDelayerFunc {
	var first sync.Once
	return func(attempt int, err error) (time.Duration, error) {
		d := pause(attempt)
		var timed net.Error
		if notice != nil && (d > 200*time.Millisecond || silent.Load() || errors.As(err, &timed) && timed.Timeout()) {
			first.Do(func() { notice(tell(err)) })
		}
		return d, nil
	}
}

// pause is how long to wait before the next try: 50 ms doubling up to 5 s, half of it by chance, so that many clients of
// a server that stumbled don't come back at the same instant.
func pause(attempt int) time.Duration {
	d := min(50*time.Millisecond<<min(max(attempt-1, 0), 10), 5*time.Second)
	return d/2 + mathrand.N(d/2)
}

// untrusted keeps a certificate that doesn't verify from being tried again: that is a matter for a person, at once.
func untrusted(err error) aws.Ternary {
	if isUntrusted(err) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

func isUntrusted(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert)
}

// noRateLimit lets every retry through: attempts and back-off bound them already, and the SDK's token bucket would
// give up on a long backup because other parts of it were retried too.
type noRateLimit struct{}

func (noRateLimit) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (noRateLimit) AddTokens(uint) error { return nil }

func httpClient(o Options, silent *atomic.Bool) (*awshttp.BuildableClient, error) {
	roots, err := authorities(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("s3 certificate authority: %w", err)
	}
	timeout := cmp.Or(o.Timeout, DefaultTimeout)
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 16
		t.DialContext = dialer(timeout, silent)
		t.ResponseHeaderTimeout = timeout
		t.DisableCompression = true
		t.WriteBufferSize, t.ReadBufferSize = 128<<10, 128<<10
		// One connection a request at a time: parallel uploads over HTTP/2 would share one connection's window.
		t.ForceAttemptHTTP2 = false
		if roots == nil {
			return
		}
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.TLSClientConfig.RootCAs = roots
	}), nil
}

// authorities returns those in caFile; nil, for the system's, where no file is named. The system's aren't added to a
// file's: reading a hundred of them costs more than archiving a segment does otherwise.
func authorities(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", caFile)
	}
	return pool, nil
}

// key is the object's full name in the bucket.
func (s *Store) key(key string) *string {
	if s.o.Prefix == "" {
		return &key
	}
	return aws.String(s.o.Prefix + "/" + key)
}
