package backupcmd

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/recovery"
)

// scheduleFlags are those of backup schedule.
type scheduleFlags struct {
	output
	format, image, user, config string
}

// suggested is a schedule for whoever has none yet.
var suggested = map[recovery.Kind]string{
	recovery.Backup: "0 2 * * *", recovery.Expire: "0 4 * * *", recovery.Verify: "0 5 * * sun", recovery.Drill: "0 6 * * sun",
}

// scheduleFormats are the schedulers there are files for.
var scheduleFormats = []string{"cron", "systemd", "kubernetes"}

func scheduleCommand() *cobra.Command {
	var f scheduleFlags
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Print what runs backups, expiry, verification and drills by themselves",
		Long: `Print crontab lines, systemd timers and services (that of covetctl wal agent too), or Kubernetes CronJobs for backups, expiry, verification and drills: at the
times that the configuration says (BACKUP_SCHEDULE and the like), or at suggested ones where it says none. covetd runs the
configured schedule itself, and needs none of these. Any number of schedulers may be set up beside each other: a lease in
the repository lets one of them do each job.`,
		Example: `  covetctl backup schedule
  covetctl backup schedule --format systemd
  covetctl backup schedule --format kubernetes --image registry.example.com/covet:v1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.output.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.format, "format", "all", "cron, systemd, kubernetes or all")
	fs.StringVar(&f.image, "image", "covet:latest", "container image with covetctl, for kubernetes")
	fs.StringVar(&f.user, "user", "postgres", "user who runs the jobs, for systemd")
	fs.StringVar(&f.config, "config", os.Getenv("COVET_CONFIG"), "covetd's YAML file (COVET_CONFIG)")
	completeWords(cmd, "format", append(slices.Clone(scheduleFormats), "all")...)
	cmd.AddCommand(scheduleRunCommand())
	return cmd
}

// scheduled is one job with its time.
type scheduled struct {
	Kind    recovery.Kind    `json:"kind"`
	Cadence string           `json:"cadence"`
	Next    time.Time        `json:"next"`
	Command string           `json:"command"`
	cadence recovery.Cadence // parsed
	words   []string         // of the command
}

// printedSchedule is what backup schedule prints.
type printedSchedule struct {
	Suggested bool              `json:"suggested"` // nothing is configured
	Jobs      []scheduled       `json:"jobs"`
	Files     map[string]string `json:"files"` // by format
}

func (f *scheduleFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.format != "all" && !slices.Contains(scheduleFormats, f.format) {
		return usage(fmt.Errorf("--format %q: choose cron, systemd, kubernetes or all", f.format))
	}
	c, err := LoadConfig(os.Getenv)
	if err != nil {
		return err
	}
	out, err := f.printed(c, time.Now())
	if err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), out, func(w io.Writer) error { return out.table(w) })
}

func (f *scheduleFlags) printed(c Config, now time.Time) (printedSchedule, error) {
	out := printedSchedule{Suggested: c.Schedule.Empty(), Files: map[string]string{}, Jobs: []scheduled{}}
	self, err := os.Executable()
	if err != nil {
		return out, fmt.Errorf("find this program: %w", err)
	}
	for _, k := range recovery.Kinds() {
		cadence := c.Schedule[k]
		if out.Suggested {
			if cadence, err = recovery.ParseCadence(suggested[k]); err != nil {
				return out, err
			}
		}
		if cadence.Off() {
			continue
		}
		words := []string{self, "backup", "schedule", "run", string(k)}
		if out.Suggested {
			words = append(words, "--cadence", cadence.String())
		}
		out.Jobs = append(out.Jobs, scheduled{Kind: k, Cadence: cadence.String(), Next: cadence.Next(now), Command: strings.Join(words, " "), cadence: cadence, words: words})
	}
	env := f.environment()
	for _, format := range scheduleFormats {
		if f.format != "all" && f.format != format {
			continue
		}
		switch format {
		case "cron":
			out.Files[format] = cronLines(out.Jobs, env)
		case "systemd":
			out.Files[format] = systemdUnits(out.Jobs, env, f.user) + agentUnit(self, env, f.user)
		case "kubernetes":
			out.Files[format] = cronJobs(out.Jobs, env, f.image, c.Service)
		}
	}
	return out, nil
}

// variable is one of the environment that the jobs need.
type variable struct{ name, value string }

// environment is what the jobs are to find: the configuration file where there is one, else the settings themselves. What
// is secret isn't among them.
func (f *scheduleFlags) environment() []variable {
	if f.config != "" {
		if abs, err := filepath.Abs(f.config); err == nil {
			return []variable{{"COVET_CONFIG", abs}}
		}
	}
	var out []variable
	for _, s := range Settings() {
		if v := os.Getenv(s.Name); v != "" && !s.Secret {
			out = append(out, variable{s.Name, v})
		}
	}
	return out
}

func (s *printedSchedule) table(w io.Writer) error {
	if s.Suggested {
		if _, err := fmt.Fprintln(w, "# No schedule is configured (BACKUP_SCHEDULE and the like): these times are suggestions."); err != nil {
			return err
		}
	}
	for _, format := range scheduleFormats {
		text, ok := s.Files[format]
		if !ok {
			continue
		}
		if len(s.Files) > 1 {
			text = "\n# " + strings.Repeat("-", 8) + " " + format + " " + strings.Repeat("-", 8) + "\n" + text
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// cronLines are those of a crontab.
func cronLines(jobs []scheduled, env []variable) string {
	var b strings.Builder
	fmt.Fprintln(&b, "# crontab -e, as the user who may read the repository's credentials. Times are UTC.")
	fmt.Fprintln(&b, "CRON_TZ=UTC")
	for _, v := range env {
		fmt.Fprintf(&b, "%s=%s\n", v.name, v.value)
	}
	fmt.Fprintln(&b, "# Secrets (BACKUP_DATABASE_URL, AWS_…) belong into the configuration file or here, readable by that user only.")
	for _, j := range jobs {
		words := make([]string, len(j.words))
		for i, word := range j.words {
			words[i] = strings.ReplaceAll(shellWord(word), "%", `\%`)
		}
		fmt.Fprintf(&b, "%s %s\n", j.Cadence, strings.Join(words, " "))
	}
	return b.String()
}

// systemdUnits are a service and a timer for each job.
func systemdUnits(jobs []scheduled, env []variable, user string) string {
	var b strings.Builder
	fmt.Fprintln(&b, "# Put each part into the file it names, then: systemctl daemon-reload && systemctl enable --now", timers(jobs))
	for _, j := range jobs {
		fmt.Fprintf(&b, "\n# /etc/systemd/system/covet-%s.service\n[Unit]\nDescription=Covet: scheduled %s\nAfter=network-online.target\nWants=network-online.target\n\n[Service]\nType=oneshot\nUser=%s\n", j.Kind, j.Kind, user)
		for _, v := range env {
			fmt.Fprintf(&b, "Environment=%s\n", systemdQuote(v.name+"="+v.value))
		}
		words := make([]string, len(j.words))
		for i, word := range j.words {
			words[i] = systemdQuote(word)
		}
		fmt.Fprintf(&b, "EnvironmentFile=-/etc/covet/backup.env\nExecStart=%s\nTimeoutStartSec=infinity\nNice=10\nIOSchedulingClass=idle\n", strings.Join(words, " "))
		fmt.Fprintf(&b, "\n# /etc/systemd/system/covet-%s.timer\n[Unit]\nDescription=Covet: when the %s is due\n\n[Timer]\nOnCalendar=%s\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n", j.Kind, j.Kind, j.cadence.Calendar())
	}
	return b.String()
}

// agentUnit is a service for covetctl wal agent, which archives for PostgreSQL's archive_command and empties the spool. It ends
// after PostgreSQL, whose last segment it archives.
func agentUnit(self string, env []variable, user string) string {
	var b strings.Builder
	b.WriteString("\n# /etc/systemd/system/covet-wal-agent.service\n# Archives for covetctl wal push, in one process that stays; it needs what the archive_command has in its environment.\n")
	fmt.Fprintf(&b, "[Unit]\nDescription=Covet: archives PostgreSQL's log\nAfter=network-online.target\nWants=network-online.target\nBefore=postgresql.service\n\n[Service]\nUser=%s\n", user)
	for _, v := range env {
		fmt.Fprintf(&b, "Environment=%s\n", systemdQuote(v.name+"="+v.value))
	}
	b.WriteString("RuntimeDirectory=covet\n")
	for _, v := range env {
		if v.name == "COVET_WAL_SPOOL" {
			fmt.Fprintf(&b, "ExecStartPre=+/usr/bin/install -d -o %s -m 0700 %s\n", user, systemdQuote(v.value))
		}
	}
	fmt.Fprintf(&b, "ExecStart=%s wal agent\nRestart=always\nRestartSec=1\n\n[Install]\nWantedBy=multi-user.target\n", systemdQuote(self))
	return b.String()
}

func timers(jobs []scheduled) string {
	var names []string
	for _, j := range jobs {
		names = append(names, fmt.Sprintf("covet-%s.timer", j.Kind))
	}
	return strings.Join(names, " ")
}

// systemdQuote quotes a word for a unit file, and escapes systemd's specifiers.
func systemdQuote(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if !strings.ContainsAny(s, " \t\"'\\$;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `$$`).Replace(s) + `"`
}

// cronJobs are the manifests of Kubernetes.
func cronJobs(jobs []scheduled, env []variable, image, service string) string {
	var b strings.Builder
	fmt.Fprintln(&b, "# Secrets: kubectl create secret generic covet-backup --from-literal=BACKUP_DATABASE_URL=… --from-literal=AWS_ACCESS_KEY_ID=… --from-literal=AWS_SECRET_ACCESS_KEY=…")
	for _, j := range jobs {
		fmt.Fprintf(&b, `---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: %s
  labels: {app.kubernetes.io/name: covet, app.kubernetes.io/component: %s}
spec:
  schedule: %q
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 2
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: covetctl
              image: %q
              command: [%s]
              envFrom:
                - secretRef: {name: covet-backup, optional: true}
`, strings.ReplaceAll("covet-"+string(j.Kind)+"-"+cmp.Or(service, "default"), ".", "-"), j.Kind, j.Cadence, image, flowList(append([]string{"covetctl"}, j.words[1:]...)))
		if len(env) > 0 {
			fmt.Fprintln(&b, "              env:")
		}
		for _, v := range env {
			fmt.Fprintf(&b, "                - {name: %s, value: %q}\n", v.name, v.value)
		}
		fmt.Fprintln(&b, "              resources: {requests: {cpu: 200m, memory: 256Mi}, limits: {memory: 512Mi}}")
	}
	return b.String()
}

// flowList is the inside of a YAML list.
func flowList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return strings.Join(quoted, ", ")
}

// shellWord quotes a word for sh.
func shellWord(s string) string { return strings.ReplaceAll(shell(s), "%%", "%") }
