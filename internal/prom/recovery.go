package prom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/recovery"
)

// Recovery shows how recoverable the database is. What isn't known has no sample.
type Recovery struct {
	Posture func() *recovery.Posture
}

var recoveryDescs = struct {
	known, looked, rpo, rpoLimit, rto, rtoLimit, lag, backups, backupAge, backupBytes, storedBytes *prometheus.Desc
	verifiedAge, gaps, window, walBytes, drillAge, drillTime, drillPassed, jobFailures, jobNext    *prometheus.Desc
	spoolFiles, spoolBytes, spoolMax, spoolAge, spoolRefused                                       *prometheus.Desc
}{
	known:        desc("recovery_known", "1 while the backup repository answers, 0 while what is shown is old."),
	looked:       desc("recovery_looked_timestamp_seconds", "When the repository was last read."),
	rpo:          desc("recovery_point_seconds", "How much of the past would be lost were the database gone now."),
	rpoLimit:     desc("recovery_point_limit_seconds", "How much may be (RPO)."),
	rto:          desc("recovery_time_seconds", "How long getting the database back would take.", "basis"),
	rtoLimit:     desc("recovery_time_limit_seconds", "How long it may take (RTO)."),
	lag:          desc("wal_lag_bytes", "Log that was written and is not in the repository."),
	backups:      desc("backups", "Complete backups in the repository."),
	backupAge:    desc("backup_age_seconds", "Time since the newest backup ended."),
	backupBytes:  desc("backup_bytes", "Size of the database in the newest backup."),
	storedBytes:  desc("backup_stored_bytes", "What the newest backup added to the repository."),
	verifiedAge:  desc("backup_verified_age_seconds", "Time since the newest backup was read back and found good."),
	gaps:         desc("wal_gaps", "Holes in the archived log."),
	window:       desc("recovery_window_seconds", "How far back the unbroken window reaches."),
	walBytes:     desc("wal_archived_bytes", "Archived log in the repository, compressed."),
	drillAge:     desc("restore_drill_age_seconds", "Time since the last trial restore."),
	drillTime:    desc("restore_drill_seconds", "How long the last trial restore took until the server took writes."),
	drillPassed:  desc("restore_drill_passed", "1 where the last trial restore passed its checks."),
	spoolFiles:   desc("wal_spool_files", "WAL files that are on this machine alone, and were acknowledged."),
	spoolBytes:   desc("wal_spool_bytes", "Size of these files, compressed."),
	spoolMax:     desc("wal_spool_limit_bytes", "How much the spool may hold before archiving has to wait for the repository."),
	spoolAge:     desc("wal_spool_age_seconds", "How long the oldest of them has waited for the repository."),
	spoolRefused: desc("wal_spool_refused_files", "Those that the repository refused for good."),
	jobFailures:  desc("backup_job_failures", "Failures of a scheduled job in a row.", "job"),
	jobNext:      desc("backup_job_next_timestamp_seconds", "When a scheduled job is due; in the past: overdue.", "job"),
}

// Describe implements prometheus.Collector: the collector is unchecked, since samples come and go with what is known.
func (c *Recovery) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Recovery) Collect(out chan<- prometheus.Metric) {
	p, d := c.Posture(), recoveryDescs
	if p == nil || p.At.IsZero() {
		gauge(out, d.known, 0)
		return
	}
	now := time.Now()
	age := func(t time.Time) float64 { return max(now.Sub(t).Seconds(), 0) }
	gauge(out, d.known, oneIf(p.Unknown == ""))
	gauge(out, d.looked, float64(p.At.UnixMilli())/1000)
	gauge(out, d.rpoLimit, p.RPO.Limit.Std().Seconds())
	gauge(out, d.rtoLimit, p.RTO.Limit.Std().Seconds())
	if p.RPO.Known {
		gauge(out, d.rpo, p.RPO.Now.Std().Seconds())
	}
	if p.RTO.Known {
		gauge(out, d.rto, p.RTO.Now.Std().Seconds(), basis(p.Drills))
	}
	if p.Lag >= 0 {
		gauge(out, d.lag, float64(p.Lag))
	}
	gauge(out, d.backups, float64(len(p.Backups)))
	gauge(out, d.gaps, float64(len(p.Gaps)))
	gauge(out, d.walBytes, float64(p.Archive.Bytes))
	if n := len(p.Coverage); n > 0 {
		gauge(out, d.window, age(p.Coverage[n-1].From))
	}
	if len(p.Backups) > 0 {
		newest := p.Backups[0]
		gauge(out, d.backupAge, age(newest.Stopped))
		gauge(out, d.backupBytes, float64(newest.Bytes))
		gauge(out, d.storedBytes, float64(newest.Stored))
		if v := newest.Verified; v != nil && len(v.Damage) == 0 {
			gauge(out, d.verifiedAge, age(v.At))
		}
	}
	if len(p.Drills) > 0 {
		gauge(out, d.drillAge, age(p.Drills[0].Began))
		gauge(out, d.drillTime, p.Drills[0].Recovery.Std().Seconds())
		gauge(out, d.drillPassed, oneIf(p.Drills[0].Passed()))
	}
	c.spool(out, p.Spool, age)
	for _, j := range p.Jobs {
		gauge(out, d.jobFailures, float64(j.Failures), string(j.Kind))
		if !j.Next.IsZero() {
			gauge(out, d.jobNext, float64(j.Next.Unix()), string(j.Kind))
		}
	}
}

// spool shows what waits on this machine, where there is a spool.
func (c *Recovery) spool(out chan<- prometheus.Metric, s *backup.SpoolState, age func(time.Time) float64) {
	if s == nil {
		return
	}
	d, oldest := recoveryDescs, 0.0
	if !s.Oldest.IsZero() {
		oldest = age(s.Oldest)
	}
	gauge(out, d.spoolFiles, float64(s.Files))
	gauge(out, d.spoolBytes, float64(s.Bytes))
	gauge(out, d.spoolMax, float64(s.Max))
	gauge(out, d.spoolAge, oldest)
	gauge(out, d.spoolRefused, float64(len(s.Refused)))
}

// basis says whether the recovery time was measured, or worked out.
func basis(drills []backup.DrillResult) string {
	for _, d := range drills {
		if d.Passed() {
			return "drill"
		}
	}
	return "estimate"
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
