package backupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/agekeys"
	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/internal/file"
	"github.com/covetpy/covet/internal/s3"
	"github.com/covetpy/covet/ops/backup"
)

// defaultRepo is one place for everybody: the archiver runs as another user than the person who restores.
const defaultRepo = "file:///var/lib/covet/repo"

// repoFlags say where the repository is.
type repoFlags struct {
	repo, service, compression string
	endpoint, region, caFile   string
	sse, kmsKey                string
	virtualHost                bool
	attempts                   int
	timeout                    time.Duration
	notices                    func() io.Writer // where it is told that a server doesn't answer; nil: nowhere
	system                     string
	databaseURL                string
	keys                       agekeys.Options
}

// How often a request to the S3 server is tried: for about a quarter of a minute, and for a minute and a half by a job that
// would have to begin again.
const (
	attempts        = 10
	patientAttempts = 30
)

// add defines the flags that every command has.
func (f *repoFlags) add(cmd *cobra.Command) { f.addTrying(cmd, attempts) }

// addPatient is add for a long job.
func (f *repoFlags) addPatient(cmd *cobra.Command) { f.addTrying(cmd, patientAttempts) }

func (f *repoFlags) addTrying(cmd *cobra.Command, attempts int) {
	f.notices = cmd.ErrOrStderr
	fs := cmd.Flags()
	fs.StringVar(&f.repo, "repo", cmp.Or(os.Getenv("COVET_REPO"), defaultRepo), "repository: file:///DIR or s3://BUCKET/PREFIX (COVET_REPO)")
	fs.StringVar(&f.service, "service", cmp.Or(os.Getenv("COVET_SERVICE"), "default"), "service that the database belongs to (COVET_SERVICE)")
	fs.StringVar(&f.endpoint, "s3-endpoint", os.Getenv("COVET_S3_ENDPOINT"), "URL of the S3 server, where it isn't Amazon's (COVET_S3_ENDPOINT)")
	fs.StringVar(&f.region, "s3-region", os.Getenv("S3_REGION"), "region of the bucket (S3_REGION, AWS_REGION)")
	fs.StringVar(&f.caFile, "s3-ca-file", os.Getenv("COVET_S3_CA_FILE"), "PEM file of authorities to trust instead of the system's (COVET_S3_CA_FILE)")
	fs.StringVar(&f.sse, "s3-sse", os.Getenv("COVET_S3_SSE"), "encryption by the S3 server: AES256 or aws:kms (COVET_S3_SSE)")
	fs.StringVar(&f.kmsKey, "s3-kms-key", os.Getenv("COVET_S3_KMS_KEY"), "key for aws:kms; default the bucket's (COVET_S3_KMS_KEY)")
	fs.IntVar(&f.attempts, "s3-attempts", attempts, "how often one request to the S3 server is tried, with pauses up to 5 s")
	fs.DurationVar(&f.timeout, "s3-timeout", s3.DefaultTimeout, "how long the S3 server may be silent before a request is tried again")
	fs.BoolVar(&f.virtualHost, "s3-virtual-host", os.Getenv("COVET_S3_VIRTUAL_HOST") == "true", "put the bucket into the endpoint's host name (COVET_S3_VIRTUAL_HOST)")
	f.addKeys(fs)
}

// addCompression defines the flag of the commands that write.
func (f *repoFlags) addCompression(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.compression, "compression", cmp.Or(os.Getenv("COVET_COMPRESSION"), "zstd"), "zstd, zstd:LEVEL, lz4 or none (COVET_COMPRESSION)")
}

// addSystem defines the flag of the commands that work on one database cluster without connecting to it.
func (f *repoFlags) addSystem(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.system, "system", "", "system identifier of the database cluster, where the service has had several")
}

// addDatabase defines the flag of the commands that connect to the database.
func (f *repoFlags) addDatabase(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.databaseURL, "database-url", cmp.Or(os.Getenv("BACKUP_DATABASE_URL"), os.Getenv("DATABASE_URL")), "database to connect to, with a role that has REPLICATION (BACKUP_DATABASE_URL, DATABASE_URL, DATABASE_URL_FILE)")
}

// open returns the repository.
func (f *repoFlags) open(ctx context.Context) (backup.Repository, error) {
	r := backup.Repository{Where: f.repo}
	if err := backup.CheckService(f.service); err != nil {
		return r, usage(err)
	}
	if f.timeout < time.Second {
		return r, usage(fmt.Errorf("--s3-timeout %v: a server may take a second", f.timeout))
	}
	keys, err := f.openKeys()
	if err != nil {
		return r, usage(err)
	}
	r.Sealer = backup.NewSealer(keys, codec.All())
	r.Codecs = r.Sealer.Codecs()
	u, err := url.Parse(f.repo)
	if err != nil {
		return r, usage(fmt.Errorf("--repo %s: %w", f.repo, err))
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && u.Path != "":
		r.Store, err = file.Open(u.Path)
	case u.Scheme == "s3":
		r.Store, err = s3.Open(ctx, s3.Options{
			Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), Endpoint: f.endpoint, Region: f.region, CAFile: f.caFile,
			SSE: f.sse, KMSKeyID: f.kmsKey, VirtualHost: f.virtualHost, Attempts: f.attempts,
			Timeout: f.timeout, Retrying: f.retrying,
		})
	default:
		err = fmt.Errorf("--repo %q: write file:///DIR or s3://BUCKET/PREFIX", f.repo)
	}
	if err != nil {
		return r, usage(err)
	}
	return r, nil
}

// retrying tells whoever waits what for.
func (f *repoFlags) retrying(err error) {
	if f.notices != nil {
		_, _ = fmt.Fprintf(f.notices(), "… %v; trying again, up to %d times\n", err, f.attempts) // it is only a notice
	}
}

// codec is the one to write with.
func (f *repoFlags) codec() (backup.Codec, error) {
	c, err := codec.Named(f.compression)
	if err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// cluster opens the one cluster that is meant: that of --system, or the only one that the service has.
func (f *repoFlags) cluster(ctx context.Context) (backup.Cluster, error) {
	r, err := f.open(ctx)
	if err != nil {
		return backup.Cluster{}, err
	}
	if f.system != "" {
		id, err := backup.ParseSystemID(f.system)
		if err != nil {
			return backup.Cluster{}, usage(err)
		}
		return r.Cluster(f.service, id), nil
	}
	ids, err := r.Systems(ctx, f.service)
	if err != nil {
		return backup.Cluster{}, err
	}
	switch len(ids) {
	case 0:
		return backup.Cluster{}, &exitError{fmt.Errorf("there is no backup of service %s in %s: make one with covetctl backup run, or name another --repo or --service", f.service, f.repo), exitFailed}
	case 1:
		return r.Cluster(f.service, ids[0]), nil
	}
	return backup.Cluster{}, usage(fmt.Errorf("service %s has had several database clusters: choose with --system one of %v", f.service, ids))
}

// database is the address to connect to.
func (f *repoFlags) database() (string, error) {
	if f.databaseURL == "" {
		var err error
		if f.databaseURL, err = secretEnv("DATABASE_URL"); err != nil {
			return "", usage(err)
		}
	}
	if f.databaseURL == "" && os.Getenv("PGHOST") == "" {
		return "", usage(errors.New("no database is named: set DATABASE_URL or --database-url, such as postgres://backup@db.example.com/postgres"))
	}
	return f.databaseURL, nil
}

// args repeats the flags for another process, such as restore_command's. Credentials stay in the environment.
func (f *repoFlags) args() []string {
	out := []string{"--repo", f.repo, "--service", f.service}
	for _, o := range []struct{ flag, value string }{
		{"--s3-endpoint", f.endpoint}, {"--s3-region", f.region}, {"--s3-ca-file", f.caFile}, {"--s3-sse", f.sse}, {"--s3-kms-key", f.kmsKey},
	} {
		if o.value != "" {
			out = append(out, o.flag, o.value)
		}
	}
	out = append(out, f.keyArgs()...)
	if f.timeout != s3.DefaultTimeout {
		out = append(out, "--s3-timeout", f.timeout.String())
	}
	if f.virtualHost {
		out = append(out, "--s3-virtual-host")
	}
	return out
}
