package server

import (
	"fmt"

	"github.com/covetpy/covet/server/certs"
)

// SecurityConfig says who may ask what, how often, and over which connection.
type SecurityConfig struct {
	TLSCertFile string // PEM chain of the public listener; empty: plain HTTP
	TLSKeyFile  string // its PEM private key

	CORSOrigins          []string // origins whose pages may read answers: https://shop.example; none: left to the application
	CORSAllowCredentials bool     // and send cookies along
}

func (c *SecurityConfig) settings() []Setting {
	return []Setting{
		{Name: "TLS_CERT_FILE", Help: "certificate chain (PEM) of the public listener; plain HTTP if unset", Example: "TLS_CERT_FILE=/etc/covet/tls/tls.crt", Set: Text(&c.TLSCertFile)},
		{Name: "TLS_KEY_FILE", Help: "private key (PEM) of the certificate", Example: "TLS_KEY_FILE=/etc/covet/tls/tls.key", Set: Text(&c.TLSKeyFile)},
		{Name: "CORS_ORIGINS", Help: "origins whose pages may call the service, exactly; left to the application if unset", Example: "CORS_ORIGINS=https://shop.example,https://admin.shop.example", Kind: List, Set: origins(&c.CORSOrigins)},
		{Name: "CORS_ALLOW_CREDENTIALS", Help: "let those pages send cookies along", Example: "CORS_ALLOW_CREDENTIALS=true", Default: "false", Set: Switch(&c.CORSAllowCredentials)},
	}
}

// conflicts finds what is wrong with the combination of values.
func (c *SecurityConfig) conflicts() []Fault {
	return c.tlsConflicts()
}

func (c *SecurityConfig) tlsConflicts() []Fault {
	fault := func(name, problem string) []Fault {
		return []Fault{{Name: name, Problem: problem, Example: name + "=/etc/covet/tls/tls" + map[string]string{"TLS_CERT_FILE": ".crt", "TLS_KEY_FILE": ".key"}[name]}}
	}
	switch {
	case c.TLSCertFile == "" && c.TLSKeyFile == "":
		return nil
	case c.TLSKeyFile == "":
		return fault("TLS_KEY_FILE", "is missing beside TLS_CERT_FILE")
	case c.TLSCertFile == "":
		return fault("TLS_CERT_FILE", "is missing beside TLS_KEY_FILE")
	}
	if err := certs.Check(c.TLSCertFile, c.TLSKeyFile); err != nil {
		return []Fault{{Name: "TLS_CERT_FILE", Problem: fmt.Sprintf("cannot be used: %v", err)}}
	}
	return nil
}
