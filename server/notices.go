package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/covetpy/covet/server/jobs"
	"github.com/covetpy/covet/server/notice"
	"github.com/prometheus/client_golang/prometheus"
)

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
