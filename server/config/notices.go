package config

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
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
