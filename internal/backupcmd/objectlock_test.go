package backupcmd_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/covetpy/covet/ops/backup"
	s3test "github.com/covetpy/covet/test/s3"
)

// In a bucket that protects every object for a day, and so keeps versions, everything works: what is expired is hidden by delete
// markers, and is there still for who must get it back.
func TestObjectLock(t *testing.T) {
	t.Parallel()
	b, srv := newBench(t, "file"), s3test.StartVersioned(t)
	lockedBucket(t, srv, "worm")
	b.repo = "s3://worm/prod"
	b.env = append(b.env, "COVET_REPO="+b.repo, "COVET_S3_ENDPOINT="+srv.Endpoint, "S3_REGION=us-east-1")
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)")
	m := &marks{pg: pg}
	m.add(1)
	b.run("backup", "run", "--database-url", pg.DSN())
	m.add(1)
	b.run("backup", "run", "--full", "--database-url", pg.DSN())
	m.add(1)
	b.flushWAL(pg)
	b.run("backup", "verify")
	b.run("backup", "expire", "--keep", "1")
	var heads []backup.Head
	if b.runJSON(&heads, "backup", "list"); len(heads) != 1 {
		t.Errorf("%d backups are left", len(heads))
	}
	b.run("backup", "verify")
	exactly(t, b.restored(nil), 3)
}

// lockedBucket makes a bucket in which every object is protected for a day.
func lockedBucket(t *testing.T, srv *s3test.Server, name string) {
	t.Helper()
	c := awss3.New(awss3.Options{
		BaseEndpoint: &srv.Endpoint, UsePathStyle: true, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider(s3test.AccessKey, s3test.SecretKey, ""),
	})
	_, err := c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PutObjectLockConfiguration(t.Context(), &awss3.PutObjectLockConfigurationInput{
		Bucket: &name, ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeCompliance, Days: aws.Int32(1)}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}
