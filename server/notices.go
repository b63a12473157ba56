package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"net/url"
	"strings"

	"github.com/covetpy/covet/server/jobs"
	"github.com/covetpy/covet/server/notice"
	"github.com/prometheus/client_golang/prometheus"
)

// NoticeConfig says who is told what happened, and how.
type NoticeConfig struct {
	SMTPHost     string // empty: no mail
	SMTPPort     int
	SMTPUser     string
	SMTPPassword Secret
	SMTPFrom     string   // ADMIN_EMAIL's first if empty
	AdminEmail   []string // who gets mail

	WebhookURL    Secret // where notices are posted; empty: nowhere
	WebhookSecret Secret // signs them
}

func (c *NoticeConfig) settings() []Setting {
	return []Setting{
		{Name: "SMTP_HOST", Help: "mail server for notices", Example: "SMTP_HOST=smtp.internal", Set: Text(&c.SMTPHost)},
		{Name: "SMTP_PORT", Help: "its port; 465 is TLS from the start, others use STARTTLS", Example: "SMTP_PORT=587", Default: fmt.Sprint(c.SMTPPort), Set: Number(&c.SMTPPort, 1, 65535)},
		{Name: "SMTP_USER", Help: "user at the mail server; no authentication if unset", Example: "SMTP_USER=shop", Set: Text(&c.SMTPUser)},
		{Name: "SMTP_PASSWORD", Help: "password at the mail server", Example: "SMTP_PASSWORD_FILE=/run/secrets/smtp", Secret: true, Set: secretValue(&c.SMTPPassword)},
		{Name: "SMTP_FROM", Help: "sender of notices; the first of ADMIN_EMAIL if unset", Example: "SMTP_FROM=covet@shop.example", Set: oneEmail(&c.SMTPFrom)},
		{Name: "ADMIN_EMAIL", Help: "who is told of incidents and rollbacks", Example: "ADMIN_EMAIL=oncall@shop.example", Kind: List, Set: emails(&c.AdminEmail)},
		{Name: "NOTIFY_WEBHOOK_URL", Help: "where incidents and rollbacks are posted as JSON", Example: "NOTIFY_WEBHOOK_URL=https://hooks.example/T0/B0", Secret: true, Set: httpURL(&c.WebhookURL)},
		{Name: "NOTIFY_WEBHOOK_SECRET", Help: "signs what is posted", Example: "NOTIFY_WEBHOOK_SECRET_FILE=/run/secrets/webhook", Secret: true, Set: secretValue(&c.WebhookSecret)},
	}
}

func defaultNotices() NoticeConfig { return NoticeConfig{SMTPPort: 587} }

func emails(dst *[]string) func(string) error {
	return func(v string) error {
		list, err := mail.ParseAddressList(v)
		if err != nil {
			return errors.New("is no address, such as oncall@shop.example")
		}
		for _, a := range list {
			*dst = append(*dst, a.Address)
		}
		return nil
	}
}

func oneEmail(dst *string) func(string) error {
	return func(v string) error {
		a, err := mail.ParseAddress(v)
		if err != nil {
			return errors.New("is no address, such as covet@shop.example")
		}
		*dst = a.String()
		return nil
	}
}

func httpURL(dst *Secret) func(string) error {
	return func(v string) error {
		u, err := url.Parse(v)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return errors.New("is no http:// or https:// address")
		}
		*dst = Secret(v)
		return nil
	}
}

func (c *NoticeConfig) conflicts() []Fault {
	var out []Fault
	add := func(name, problem, example string) {
		out = append(out, Fault{Name: name, Problem: problem, Example: example})
	}
	if c.SMTPHost != "" && len(c.AdminEmail) == 0 {
		add("ADMIN_EMAIL", "is missing beside SMTP_HOST: nobody would get mail", "ADMIN_EMAIL=oncall@shop.example")
	}
	if c.SMTPUser != "" && c.SMTPPassword == "" {
		add("SMTP_PASSWORD", "is missing beside SMTP_USER", "SMTP_PASSWORD_FILE=/run/secrets/smtp")
	}
	return out
}

// Wanted says whether anybody is to be told anything.
func (c NoticeConfig) Wanted() bool { return c.SMTPHost != "" || c.WebhookURL != "" }

// Kinds of the runtime's own jobs.
const (
	mailJob = "covet.mail"
	hookJob = "covet.webhook"
)

// Jobs takes work to be done after the answer. Handlers are added before [Server.Run].
func (s *Server) Jobs() *jobs.Queue { return s.jobs }

// openJobs makes the queue, and what sends notices.
func (s *Server) openJobs() error {
	q, err := jobs.New(s.db, s.Logger("jobs"))
	if err != nil {
		return err
	}
	s.jobs = q
	c := s.cfg.Notices
	if c.SMTPHost != "" {
		from := c.SMTPFrom
		if from == "" {
			from = c.AdminEmail[0]
		}
		m := notice.Mail{Host: c.SMTPHost, Port: c.SMTPPort, User: c.SMTPUser, Password: c.SMTPPassword.Reveal(), From: from}
		q.Handle(mailJob, mails(m))
	}
	if c.WebhookURL != "" {
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		h := notice.Webhook{URL: c.WebhookURL.Reveal(), Secret: c.WebhookSecret.Reveal(), Client: client}
		q.Handle(hookJob, posts(h))
	}
	s.Component(Component{Name: "jobs", Start: q.Start, Stop: q.Stop})
	s.metrics.registry.MustRegister(&queueCollector{q})
	return nil
}

// letter is a notice to one of ADMIN_EMAIL: an address that the mail server does not take must not keep the others from
// hearing of it.
type letter struct {
	To     string        `json:"to"`
	Notice notice.Notice `json:"notice"`
}

func mails(m notice.Mail) jobs.Handler {
	return func(ctx context.Context, payload json.RawMessage) error {
		var l letter
		if err := json.Unmarshal(payload, &l); err != nil {
			return fmt.Errorf("read a letter: %w", err)
		}
		to := m
		to.To = []string{l.To}
		return to.Send(ctx, l.Notice)
	}
}

func posts(h notice.Webhook) jobs.Handler {
	return func(ctx context.Context, payload json.RawMessage) error {
		var n notice.Notice
		if err := json.Unmarshal(payload, &n); err != nil {
			return fmt.Errorf("read a notice: %w", err)
		}
		return h.Send(ctx, n)
	}
}

// Notify tells people: those of ADMIN_EMAIL by mail, and NOTIFY_WEBHOOK_URL. It returns once the notice is in the job
// queue, which tries again what fails, and does not wait for a database that is away. Where nobody is to be told it does nothing.
func (s *Server) Notify(ctx context.Context, n notice.Notice) error {
	n.Service = s.cfg.Service
	var errs []error
	if s.cfg.Notices.SMTPHost != "" {
		for _, to := range s.cfg.Notices.AdminEmail {
			errs = append(errs, s.jobs.AddUrgent(ctx, mailJob, letter{to, n}))
		}
	}
	if s.cfg.Notices.WebhookURL != "" {
		errs = append(errs, s.jobs.AddUrgent(ctx, hookJob, n))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tell people of %s: %w", strings.TrimSpace(n.Subject), err)
	}
	return nil
}

// queueCollector shows how many jobs there are.
type queueCollector struct{ queue *jobs.Queue }

var queueDepth = prometheus.NewDesc("covetpy_queue_depth", "Jobs, by state: available, scheduled, retryable, running.", []string{"state"}, nil)

func (c *queueCollector) Describe(out chan<- *prometheus.Desc) { out <- queueDepth }

func (c *queueCollector) Collect(out chan<- prometheus.Metric) {
	for state, n := range c.queue.Depth() {
		out <- prometheus.MustNewConstMetric(queueDepth, prometheus.GaugeValue, float64(n), state)
	}
}
