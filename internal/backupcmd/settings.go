package backupcmd

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/recovery"
)

// Setting is one value of the configuration of backups: an environment variable, or a key of the file that COVET_CONFIG
// names, which is covetd's.
type Setting struct {
	Name    string
	Group   string // what backup config shows it under
	Help    string
	Default string
	Example string
	Secret  bool
	set     func(c *Config, value string) error // nil: checked where it is used
}

// Config is what the settings say of backups as a whole. Where the repository is, is read by the commands themselves.
type Config struct {
	Repo, Service, DatabaseURL string
	Schedule                   recovery.Schedule
	Policy                     backup.Policy
	Objectives                 recovery.Objectives
	DrillDir, DrillDatabase    string
	DrillChecks                string // file of queries
}

// Settings lists all that can be set.
func Settings() []Setting {
	cadence := func(k recovery.Kind) func(*Config, string) error {
		return func(c *Config, v string) (err error) { c.Schedule[k], err = recovery.ParseCadence(v); return err }
	}
	count := func(to func(*Config) *int) func(*Config, string) error {
		return func(c *Config, v string) error {
			n, err := strconv.ParseUint(v, 10, 16)
			if err != nil {
				return fmt.Errorf("%q is not a number of backups", v)
			}
			*to(c) = int(n)
			return nil
		}
	}
	span := func(to func(*Config) *time.Duration) func(*Config, string) error {
		return func(c *Config, v string) error {
			var d days
			if err := d.Set(v); err != nil {
				return fmt.Errorf("%q is not a time such as 7d, 36h or 30m", v)
			}
			*to(c) = time.Duration(d)
			return nil
		}
	}
	text := func(to func(*Config) *string) func(*Config, string) error {
		return func(c *Config, v string) error { *to(c) = v; return nil }
	}
	limits := recovery.DefaultObjectives()
	return []Setting{
		{Name: "COVET_REPO", Group: "repository", Help: "where backups and WAL are kept", Default: defaultRepo, Example: "COVET_REPO=s3://backups/prod", set: setRepo},
		{Name: "COVET_SERVICE", Group: "repository", Help: "service that the database belongs to; SERVICE if unset", Default: "default", Example: "COVET_SERVICE=shop", set: setService},
		{Name: "COVET_COMPRESSION", Group: "repository", Help: "zstd, zstd:LEVEL, lz4 or none", Default: "zstd", Example: "COVET_COMPRESSION=lz4", set: setCompression},
		{Name: "COVET_S3_ENDPOINT", Group: "repository", Help: "URL of the S3 server, where it isn't Amazon's", Example: "COVET_S3_ENDPOINT=https://minio.example.com"},
		{Name: "S3_REGION", Group: "repository", Help: "region of the bucket", Example: "S3_REGION=eu-west-1"},
		{Name: "COVET_S3_CA_FILE", Group: "repository", Help: "authorities to trust instead of the system's", Example: "COVET_S3_CA_FILE=/etc/ssl/minio.pem"},
		{Name: "COVET_S3_SSE", Group: "encryption", Help: "encryption by the S3 server: AES256 or aws:kms", Example: "COVET_S3_SSE=AES256"},
		{Name: "COVET_S3_KMS_KEY", Group: "encryption", Help: "key for aws:kms", Example: "COVET_S3_KMS_KEY=alias/backups"},
		{Name: "COVET_S3_VIRTUAL_HOST", Group: "repository", Help: "put the bucket into the endpoint's host name", Example: "COVET_S3_VIRTUAL_HOST=true"},
		{Name: "BACKUP_DATABASE_URL", Group: "database", Help: "database server to back up, with a role that has REPLICATION; DATABASE_URL if unset", Example: "BACKUP_DATABASE_URL=postgres://backup@db/postgres", Secret: true, set: text(func(c *Config) *string { return &c.DatabaseURL })},
		{Name: "BACKUP_SCHEDULE", Group: "schedule", Help: "when backups are made: crontab fields, UTC", Default: "off", Example: `BACKUP_SCHEDULE="0 2 * * *"`, set: cadence(recovery.Backup)},
		{Name: "BACKUP_VERIFY_SCHEDULE", Group: "schedule", Help: "when backups are read back and checked", Default: "off", Example: `BACKUP_VERIFY_SCHEDULE="0 5 * * sun"`, set: cadence(recovery.Verify)},
		{Name: "BACKUP_EXPIRE_SCHEDULE", Group: "schedule", Help: "when what retention doesn't keep is removed", Default: "off", Example: `BACKUP_EXPIRE_SCHEDULE="0 4 * * *"`, set: cadence(recovery.Expire)},
		{Name: "BACKUP_DRILL_SCHEDULE", Group: "schedule", Help: "when a restore is tried out", Default: "off", Example: `BACKUP_DRILL_SCHEDULE="0 6 * * sun"`, set: cadence(recovery.Drill)},
		{Name: "BACKUP_WINDOW", Group: "retention", Help: "every moment since then can be restored to", Example: "BACKUP_WINDOW=14d", set: span(func(c *Config) *time.Duration { return &c.Policy.Window })},
		{Name: "BACKUP_KEEP", Group: "retention", Help: "keep the newest N", Example: "BACKUP_KEEP=3", set: count(func(c *Config) *int { return &c.Policy.Count })},
		{Name: "BACKUP_KEEP_AGE", Group: "retention", Help: "keep those younger", Example: "BACKUP_KEEP_AGE=30d", set: span(func(c *Config) *time.Duration { return &c.Policy.Age })},
		{Name: "BACKUP_KEEP_DAILY", Group: "retention", Help: "keep one of each of the last N days", Example: "BACKUP_KEEP_DAILY=7", set: count(func(c *Config) *int { return &c.Policy.Daily })},
		{Name: "BACKUP_KEEP_WEEKLY", Group: "retention", Help: "the same for weeks", Example: "BACKUP_KEEP_WEEKLY=4", set: count(func(c *Config) *int { return &c.Policy.Weekly })},
		{Name: "BACKUP_KEEP_MONTHLY", Group: "retention", Help: "the same for months", Example: "BACKUP_KEEP_MONTHLY=12", set: count(func(c *Config) *int { return &c.Policy.Monthly })},
		{Name: "BACKUP_RPO", Group: "objectives", Help: "at most so much may be lost", Default: limits.RPO.String(), Example: "BACKUP_RPO=5m", set: span(func(c *Config) *time.Duration { return &c.Objectives.RPO })},
		{Name: "BACKUP_RTO", Group: "objectives", Help: "at most so long may a restore take", Default: limits.RTO.String(), Example: "BACKUP_RTO=1h", set: span(func(c *Config) *time.Duration { return &c.Objectives.RTO })},
		{Name: "BACKUP_DRILL_DIR", Group: "drills", Help: "where the scratch folder is made; it needs room for the whole database", Default: os.TempDir(), Example: "BACKUP_DRILL_DIR=/srv/scratch", set: text(func(c *Config) *string { return &c.DrillDir })},
		{Name: "BACKUP_DRILL_CHECKS", Group: "drills", Help: "file of queries, one a line or ended by semicolons, that must answer true", Example: "BACKUP_DRILL_CHECKS=/etc/covet/checks.sql", set: text(func(c *Config) *string { return &c.DrillChecks })},
		{Name: "BACKUP_DRILL_DATABASE", Group: "drills", Help: "database to ask them in", Default: "postgres", Example: "BACKUP_DRILL_DATABASE=shop", set: text(func(c *Config) *string { return &c.DrillDatabase })},
	}
}

func setRepo(c *Config, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "file" && u.Scheme != "s3" || u.Scheme == "file" && (u.Host != "" || u.Path == "") || u.Scheme == "s3" && u.Host == "" {
		return fmt.Errorf("%q: write file:///DIR or s3://BUCKET/PREFIX", v)
	}
	c.Repo = v
	return nil
}

func setService(c *Config, v string) error {
	c.Service = v
	return backup.CheckService(v)
}

func setCompression(_ *Config, v string) error {
	_, err := codec.Named(v)
	return err
}

// Set gives a setting its value, or says what is wrong with it.
func (s Setting) Set(c *Config, value string) error {
	if c.Schedule == nil {
		c.Schedule = recovery.Schedule{}
	}
	if s.set == nil || value == "" {
		return nil
	}
	err := s.set(c, value)
	if err == nil && strings.HasPrefix(s.Name, "BACKUP_R") && (c.Objectives.RPO < 0 || c.Objectives.RTO < 0) {
		return errors.New("it must not be negative")
	}
	return err
}

// LoadConfig reads the settings. Every fault is in the one error.
func LoadConfig(lookup func(name string) string) (Config, error) {
	c := Config{Schedule: recovery.Schedule{}}
	var faults []error
	for _, s := range Settings() {
		if err := s.Set(&c, cmp.Or(lookup(s.Name), s.Default)); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.Name, err))
		}
	}
	if len(faults) > 0 {
		return c, usage(errors.Join(faults...))
	}
	return c, nil
}

// Sources tell where the values of settings are from, by name: the file and line. What isn't in it is from the environment.
type Sources map[string]string

// Adopt makes what the configuration file says the environment of this process, where that doesn't say otherwise: so the
// commands, and what they start, have one source. The file is the one of --config in args, or of COVET_CONFIG. SERVICE stands in for
// COVET_SERVICE.
func Adopt(args []string, getenv func(string) string, setenv func(name, value string) error) (Sources, error) {
	path := getenv("COVET_CONFIG")
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			path = v
		} else if a == "--config" && i+1 < len(args) {
			path = args[i+1]
		}
	}
	from := Sources{}
	give := func(name, value, source string) error {
		if value == "" || getenv(name) != "" {
			return nil
		}
		from[name] = source
		return setenv(name, value)
	}
	if path != "" {
		values, err := readConfigFile(path)
		if err != nil {
			return nil, err
		}
		for name, v := range values {
			if err := give(name, v.text, fmt.Sprintf("%s:%d", path, v.line)); err != nil {
				return nil, err
			}
		}
	}
	return from, give("COVET_SERVICE", serviceName(getenv("SERVICE")), "SERVICE")
}

// serviceName is the service's name as a repository takes it.
func serviceName(s string) string {
	s = strings.ToLower(s)
	if backup.CheckService(s) != nil {
		return ""
	}
	return s
}

type fileValue struct {
	text string
	line int
}

// outside are settings of others that are needed here too.
var outside = []string{"SERVICE", "DATABASE_URL", "DATABASE_URL_FILE", "COVET_AGE_RECIPIENTS", "COVET_AGE_IDENTITY", "COVET_AGE_IDENTITY_FILE",
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_PROFILE"}

// readConfigFile reads covetd's YAML file: nested names are joined by underscores. What isn't about backups is covetd's to
// check.
func readConfigFile(path string) (map[string]fileValue, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, usage(fmt.Errorf("the configuration file cannot be read: %w", err))
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, usage(fmt.Errorf("%s is not YAML: %w", path, err))
	}
	known := slices.Clone(outside)
	for _, s := range Settings() {
		known = append(known, s.Name)
	}
	out := map[string]fileValue{}
	if len(doc.Content) > 0 {
		flatten("", doc.Content[0], known, out)
	}
	return out, nil
}

func flatten(prefix string, n *yaml.Node, known []string, out map[string]fileValue) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		for value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		name := strings.ToUpper(prefix + key.Value)
		switch {
		case value.Kind == yaml.MappingNode:
			flatten(strings.ToLower(name)+"_", value, known, out)
		case value.Kind == yaml.ScalarNode && value.Tag != "!!null" && slices.Contains(known, name):
			out[name] = fileValue{value.Value, key.Line}
		}
	}
}
