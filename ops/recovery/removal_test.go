package recovery

import "testing"

func TestRemovalDescribe(t *testing.T) {
	t.Parallel()
	r := Removal{Repository: "s3://b/p", Rules: "--keep 1", Kept: 1, WAL: 12, Bytes: 1_230_000, Host: "db1"}
	for _, c := range []struct {
		backups []string
		failure string
		want    string
	}{
		{nil, "", "12 WAL files removed from s3://b/p on db1, 1.2 MB freed, 1 backups kept (by --keep 1)"},
		{[]string{"a"}, "", "backup a and 12 WAL files removed from s3://b/p on db1, 1.2 MB freed, 1 backups kept (by --keep 1)"},
		{[]string{"a", "b"}, "", "backups a, b and 12 WAL files removed from s3://b/p on db1, 1.2 MB freed, 1 backups kept (by --keep 1)"},
		{nil, "no answer", "removing backups from s3://b/p on db1 (to keep: --keep 1) FAILED, and which backups were removed by then isn't known: no answer"},
		{[]string{}, "no answer", "removing backups from s3://b/p on db1 (to keep: --keep 1) FAILED, with no backup removed by then: no answer"},
		{[]string{"a", "b"}, "no answer", "removing backups from s3://b/p on db1 (to keep: --keep 1) FAILED, with these removed by then: a, b: no answer"},
	} {
		r.Backups, r.Failure = c.backups, c.failure
		if got := r.Describe(); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}
