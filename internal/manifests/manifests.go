// Package manifests writes the Kubernetes manifests of a service that covetd runs: one source for deploy/kubernetes and for
// `covetctl manifests render`.
package manifests

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"
)

// Settings are what the manifests are made from.
type Settings struct {
	Service   string // name of every object
	Namespace string // empty: left to kubectl
	Image     string
	Version   string // of the release; a label
	Replicas  int    // used where there is no autoscaler
	HPA       HPA

	Port        int // of the public listener
	MetricsPort int // of /metrics; 0: on the public one

	PreStop  time.Duration // between the removal from the endpoints, which Kubernetes only begins, and SIGTERM
	Drain    time.Duration // DRAIN_DELAY, a part of Shutdown
	Shutdown time.Duration // SHUTDOWN_TIMEOUT: from SIGTERM to the exit
	Grace    time.Duration // terminationGracePeriodSeconds; 0: PreStop + Shutdown + 5 s

	Config   map[string]string // for the ConfigMap
	Secrets  []string          // names of the Secret's keys; their values never come near this package
	Template bool              // write a template of the Secret too: applied as it is, it would empty the real one
	Egress   []int             // TCP ports that the service calls

	TLS TLS // what the public listener's certificate is read from

	Host         string // public host name; empty: no route from outside
	IngressClass string // an Ingress of this class
	Gateway      string // or an HTTPRoute of this Gateway: name, or namespace/name

	CPU, Memory, MemoryLimit string // as Kubernetes writes quantities
}

// TLS are the files of a certificate, in a pod; empty: the pods speak plain HTTP.
type TLS struct{ Cert, Key string }

// Secret is the name of the Secret that holds them.
func (TLS) Secret(service string) string { return service + "-pod-tls" }

// Dir is the folder of both.
func (t TLS) Dir() string { return path.Dir(t.Cert) }

// CertFile and KeyFile are their names in it.
func (t TLS) CertFile() string { return path.Base(t.Cert) }

// KeyFile is the private key's.
func (t TLS) KeyFile() string { return path.Base(t.Key) }

// HPA bounds the autoscaler; a Max of 0 means none.
type HPA struct{ Min, Max, CPU int }

// File is one manifest: its file's name and its YAML.
type File struct {
	Name string
	Text []byte
}

// SecretTemplate is the file of the Secret's template. It does not end in .yaml, so that `kubectl apply -f FOLDER` leaves it alone.
const SecretTemplate = "secret.yaml.example"

//go:embed templates
var templates embed.FS

// Render makes the manifests, in the order in which they should be applied. It refuses what Check calls a fault.
func Render(s Settings) ([]File, error) {
	s = s.filled()
	if faults, _ := Check(s); len(faults) > 0 {
		return nil, &FaultError{Faults: faults}
	}
	t, err := template.New("").Funcs(template.FuncMap{"q": quote, "seconds": seconds}).ParseFS(templates, "templates/*")
	if err != nil {
		return nil, fmt.Errorf("parse the templates: %w", err)
	}
	var out []File
	for _, name := range s.wanted() {
		var b bytes.Buffer
		if err := t.ExecuteTemplate(&b, name, view{s}); err != nil {
			return nil, fmt.Errorf("render %s: %w", name, err)
		}
		out = append(out, File{Name: name, Text: b.Bytes()})
	}
	return out, nil
}

// wanted are the templates that apply.
func (s Settings) wanted() []string {
	names := []string{"serviceaccount.yaml", "configmap.yaml", "service.yaml", "deployment.yaml"}
	if s.Template {
		names = slices.Insert(names, 2, SecretTemplate)
	}
	if s.HPA.Max > 0 {
		names = append(names, "hpa.yaml")
	}
	names = append(names, "pdb.yaml", "networkpolicy.yaml")
	switch {
	case s.Gateway != "":
		names = append(names, "httproute.yaml")
	case s.Host != "":
		names = append(names, "ingress.yaml")
	}
	return names
}

// filled puts the defaults in.
func (s Settings) filled() Settings {
	if s.Grace == 0 {
		s.Grace = s.PreStop + s.Shutdown + 5*time.Second
	}
	for at, value := range map[*string]string{&s.CPU: "250m", &s.Memory: "256Mi", &s.MemoryLimit: "512Mi"} {
		if *at == "" {
			*at = value
		}
	}
	if s.HPA.Max > 0 && s.HPA.CPU == 0 {
		s.HPA.CPU = 70
	}
	return s
}

// FaultError is all that is wrong with the settings.
type FaultError struct{ Faults []string }

// Error lists the faults, one to a line.
func (e *FaultError) Error() string {
	return "the manifests cannot be made:\n" + strings.Join(e.Faults, "\n")
}

// view is what the templates see.
type view struct{ Settings }

// ConfigHash changes whenever the ConfigMap does, so that the pods are replaced.
func (v view) ConfigHash() string {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(v.Config)) {
		_, _ = fmt.Fprintf(h, "%q=%q\n", k, v.Config[k]) // a hash takes everything
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// MetricsName is the port on which /metrics is.
func (v view) MetricsName() string {
	if v.MetricsPort > 0 {
		return "metrics"
	}
	return "http"
}

// ScrapePort is the number of that port.
func (v view) ScrapePort() string {
	if v.MetricsPort > 0 {
		return fmt.Sprint(v.MetricsPort)
	}
	return fmt.Sprint(v.Port)
}

// GatewayName and GatewayNamespace are the two halves of Gateway.
func (v view) GatewayName() string { return path.Base(v.Gateway) }

// GatewayNamespace is empty for the route's own.
func (v view) GatewayNamespace() string {
	ns, _, ok := strings.Cut(v.Gateway, "/")
	if !ok {
		return ""
	}
	return ns
}

// quote writes a text as a YAML string that can be nothing else: JSON's strings are YAML's.
func quote(s string) (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}

// seconds rounds up: a grace period must not be shorter than what it has to hold.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// YAML joins manifests into one stream.
func YAML(files []File) []byte {
	var b bytes.Buffer
	for i, f := range files {
		if i > 0 {
			b.WriteString("---\n")
		}
		b.Write(f.Text)
	}
	return b.Bytes()
}

// List makes a v1 List of the manifests, for JSON.
func List(files []File) (map[string]any, error) {
	items := []any{}
	for _, f := range files {
		d := yaml.NewDecoder(bytes.NewReader(f.Text))
		for {
			var o map[string]any
			err := d.Decode(&o)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", f.Name, err)
			}
			items = append(items, o)
		}
	}
	return map[string]any{"apiVersion": "v1", "kind": "List", "items": items}, nil
}
