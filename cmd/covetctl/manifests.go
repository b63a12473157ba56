package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/internal/manifests"
	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/server/config"
)

const manifestsLong = `Write the Kubernetes manifests of a service from its configuration: Deployment, Service, HorizontalPodAutoscaler,
PodDisruptionBudget, NetworkPolicy, ConfigMap, ServiceAccount, a template of the Secret, and with --host an Ingress or an HTTPRoute.

The configuration is read as covetd reads it: --set, the environment, --env-file, --config. Its secrets are only named, never
written. A configuration that could not work is refused, such as a grace period shorter than what stopping takes.`

// manifestFlags are what the command line says.
type manifestFlags struct {
	config, envFile, dir, hpa string
	set, secrets              []string
	settings                  manifests.Settings
}

func (a *app) manifestsCommand() *cobra.Command {
	var f manifestFlags
	c := &cobra.Command{
		Use: "render", Short: "Write the manifests to standard output, or into a folder", Long: manifestsLong, Args: none,
		Example: `covetctl manifests render --config shop.yaml --namespace shop --image registry.example/shop:v1.2.0@sha256:4f1c…
covetctl manifests render --config shop.yaml --image registry.example/shop:v1.2.0 --hpa 3:10 --host shop.example.com --gateway infra/public
covetctl manifests render --env-file production.env --image registry.example/shop:v1.2.0 --replicas 2 --dir ./kubernetes`,
		RunE: func(c *cobra.Command, _ []string) error { return a.renderManifests(c.Context(), f) },
	}
	v, s := c.Flags(), &f.settings
	v.StringVar(&f.config, "config", "", "the service's YAML file (env COVET_CONFIG)")
	v.StringVar(&f.envFile, "env-file", ".env", "its file of NAME=value lines; the default may be missing")
	v.StringArrayVar(&f.set, "set", nil, "one setting as NAME=VALUE; may be given again")
	v.StringArrayVar(&f.secrets, "secret", nil, "a key of the Secret whose value is not in the configuration here; may be given again")
	v.BoolVar(&s.Template, "with-secret", false, "write a template of the Secret too; into a folder it always is, as "+manifests.SecretTemplate)
	v.StringVar(&s.Image, "image", "", "the image, best by digest")
	v.StringVar(&s.Version, "release", "", "the release, a label of the pods (default: APP_VERSION)")
	v.IntVar(&s.Replicas, "replicas", 2, "pods, where there is no autoscaler")
	v.StringVar(&f.hpa, "hpa", "", "bounds of an autoscaler, MIN:MAX")
	v.IntVar(&s.HPA.CPU, "hpa-cpu", 70, "processor use that it aims at, per cent of what is requested")
	v.StringVar(&s.Host, "host", "", "public host name: an Ingress, or with --gateway an HTTPRoute")
	v.StringVar(&s.IngressClass, "ingress-class", "", "class of the Ingress")
	v.StringVar(&s.Gateway, "gateway", "", "Gateway of the HTTPRoute, NAME or NAMESPACE/NAME")
	v.DurationVar(&s.PreStop, "pre-stop", 5*time.Second, "how long a pod goes on as before while proxies learn that it stops")
	v.DurationVar(&s.Grace, "grace", 0, "when Kubernetes kills a pod that was told to stop (default: what stopping takes, and 5s)")
	v.StringVar(&s.CPU, "cpu", "250m", "processor time requested for a pod")
	v.StringVar(&s.Memory, "memory", "256Mi", "memory requested for a pod")
	v.StringVar(&s.MemoryLimit, "memory-limit", "512Mi", "memory over which a pod is killed")
	v.StringVar(&f.dir, "dir", "", "write one file for each object into this folder instead")
	return a.group(&cobra.Command{Use: "manifests", Short: "Write the service's Kubernetes manifests"}, c)
}

func (a *app) renderManifests(_ context.Context, f manifestFlags) error {
	s, notes, err := a.manifestSettings(f)
	if err != nil {
		return refusedConfig(err)
	}
	if f.dir != "" {
		s.Template = true
	} else if len(s.Secrets) > 0 && !s.Template {
		notes = append(notes, fmt.Sprintf("the Secret %s must be there, with %s", s.Service, strings.Join(s.Secrets, ", ")))
	}
	_, warnings := manifests.Check(s)
	for _, w := range append(notes, warnings...) {
		if err := a.note(render.Warn, "%s", w); err != nil {
			return err
		}
	}
	files, err := manifests.Render(s)
	if err != nil {
		return refusedConfig(err)
	}
	if f.dir != "" {
		return a.writeManifests(f.dir, files)
	}
	if a.flags.output == "json" {
		list, err := manifests.List(files)
		if err != nil {
			return err
		}
		return render.JSON(a.out, list)
	}
	_, err = a.out.Write(manifests.YAML(files))
	return err
}

// manifestSettings joins the command line and the service's configuration.
func (a *app) manifestSettings(f manifestFlags) (manifests.Settings, []string, error) {
	src := config.Sources{Environ: a.environ(), DotEnv: f.envFile, File: f.config, Overrides: map[string]string{}}
	if src.File == "" {
		src.File = a.env("COVET_CONFIG")
	}
	for _, kv := range f.set {
		name, value, ok := strings.Cut(kv, "=")
		if !ok {
			return manifests.Settings{}, nil, usage("--set %q: NAME=VALUE", kv)
		}
		src.Overrides[strings.TrimSpace(name)] = value
	}
	cfg, report, certificate, err := loadForPods(src)
	if err != nil {
		return manifests.Settings{}, nil, err
	}
	s, notes, err := manifests.FromConfig(cfg, report)
	if err != nil {
		return s, notes, err
	}
	own := f.settings
	own.Service, own.Port, own.MetricsPort, own.Config, own.Egress = s.Service, s.Port, s.MetricsPort, s.Config, s.Egress
	own.Drain, own.Shutdown, own.Secrets = s.Drain, s.Shutdown, append(s.Secrets, f.secrets...)
	own.Egress = manifests.WithUsualPorts(own.Egress, f.secrets)
	own.Namespace, own.TLS = a.flags.cluster.namespace, certificate
	if certificate.Cert != "" {
		own.Config["TLS_CERT_FILE"], own.Config["TLS_KEY_FILE"] = certificate.Cert, certificate.Key
		notes = append(notes, fmt.Sprintf("the pods take their certificate from the Secret %s of type kubernetes.io/tls, and speak HTTPS alone: what stands before them must as well", certificate.Secret(own.Service)))
	}
	if own.Version == "" {
		own.Version = s.Version
	}
	if f.hpa != "" {
		if _, err := fmt.Sscanf(f.hpa+"\n", "%d:%d\n", &own.HPA.Min, &own.HPA.Max); err != nil || own.HPA.Max == 0 {
			return own, notes, usage("--hpa %q: MIN:MAX, such as 3:10", f.hpa)
		}
	}
	return own, notes, nil
}

// loadForPods reads a configuration as covetd reads it, but for the certificate, which is where the pods run and not here.
func loadForPods(src config.Sources) (config.Config, config.Report, manifests.TLS, error) {
	src.Settings = podSettings()
	cfg, report, err := config.Load(src)
	var tls manifests.TLS
	for _, v := range report {
		switch v.Name {
		case "TLS_CERT_FILE":
			tls.Cert = v.Value
		case "TLS_KEY_FILE":
			tls.Key = v.Value
		}
	}
	if tls.Cert == "" || tls.Key == "" {
		return cfg, report, manifests.TLS{}, err
	}
	src.Overrides["TLS_CERT_FILE"], src.Overrides["TLS_KEY_FILE"] = "", ""
	cfg, report, err = config.Load(src)
	return cfg, report, tls, err
}

// podSettings are the settings that covetd has beside its runtime's.
func podSettings() []config.Setting {
	out := []config.Setting{{Name: "ROLES", Set: func(v string) error {
		_, err := console.ParseRolesText(v)
		return err
	}}}
	for _, s := range backupcmd.Settings() {
		if s.Name == "S3_REGION" {
			continue // the runtime's own
		}
		out = append(out, config.Setting{Name: s.Name, Help: s.Help, Example: s.Example, Secret: s.Secret, Set: func(v string) error {
			return s.Set(&backupcmd.Config{}, v)
		}})
	}
	return out
}

// environ are the settings of covetd's that the environment of this command has.
func (a *app) environ() []string {
	_, report, _ := config.Load(config.Sources{Settings: podSettings()}) // for the names alone: with no source there is no fault that matters
	var out []string
	for _, v := range report {
		for _, name := range []string{v.Name, v.Name + "_FILE"} {
			if value := a.env(name); value != "" {
				out = append(out, name+"="+value)
			}
		}
	}
	return out
}

func (a *app) writeManifests(dir string, files []manifests.File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the manifests: %w", err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Text, 0o644); err != nil {
			return fmt.Errorf("write the manifests: %w", err)
		}
		if err := a.note(render.Good, "%s", filepath.Join(dir, f.Name)); err != nil {
			return err
		}
	}
	return nil
}

// refusedConfig gives faults of the configuration the exit status of a command that makes no sense.
func refusedConfig(err error) error {
	if !errors.As(err, new(*config.Error)) && !errors.As(err, new(*manifests.FaultError)) {
		return err
	}
	return &console.Error{Code: console.CodeUsage, Message: err.Error(), Hint: "covetctl manifests render --help lists the flags, covetd config show the settings"}
}
