package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/kube"
	"github.com/covetpy/covet/internal/prom"
)

const controllerLong = `The controller drives the rollouts of a Kubernetes namespace, so that they do not depend on the terminal that began
them: covetctl hands it the intent and only watches. It takes up what a covetctl that died has left.

Several may run: one at a time drives a service, chosen by a Lease. It serves /metrics, /health/live and /health/ready.
Its permissions are those of deploy/kubernetes/controller-rbac.yaml.`

// controllerFlags are what the command line says.
type controllerFlags struct {
	target      kube.Target
	deployments []string
	listen      string
}

func controllerCommand(environ []string, std streams) *cobra.Command {
	var f controllerFlags
	c := &cobra.Command{
		Use: "controller", Short: "Drive the rollouts of a Kubernetes namespace", Long: controllerLong, Args: cobra.NoArgs,
		Example: "  covetd controller                       # in a pod: its own namespace\n  covetd controller --context staging --namespace shop --deployment shop",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return f.run(ctx, std)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.target.Kubeconfig, "kubeconfig", "", "the kubeconfig (KUBECONFIG; in a pod, its service account)")
	flags.StringVar(&f.target.Context, "context", lookup(environ, "COVET_CONTEXT"), "the context in it (COVET_CONTEXT)")
	flags.StringVar(&f.target.Namespace, "namespace", lookup(environ, "COVET_NAMESPACE"), "the namespace (COVET_NAMESPACE; the context's, or the pod's own)")
	flags.StringVar(&f.target.Router, "router", lookup(environ, "COVET_ROUTER"), "what splits the traffic (COVET_ROUTER; default what is there)")
	flags.IntVar(&f.target.Keep, "keep-releases", 0, "how many releases are kept after a rollout (default 20; -1 for all)")
	flags.StringVar(&f.target.Metrics, "metrics", lookup(environ, "COVET_METRICS"), "where the pods show covetd's metrics: PORT, PORT/PATH or off (COVET_METRICS; default by their annotations)")
	flags.StringArrayVar(&f.deployments, "deployment", nil, "only this Deployment; may be given again (default every one that has a journal)")
	flags.StringVar(&f.listen, "metrics-listen", ":9090", "address for /metrics and /health")
	return c
}

func (f *controllerFlags) run(ctx context.Context, std streams) error {
	log := slog.New(slog.NewJSONHandler(std.err, nil)).With("logger", "controller")
	registry := prometheus.NewRegistry()
	leads := prometheus.NewDesc("covetpy_controller_leads", "1 while this controller drives the service.", []string{"deployment"}, nil)
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find this machine's name: %w", err)
	}
	c := &kube.Controller{
		Target: f.target, Only: f.deployments, Log: log,
		Options: kube.Options{Version: thisVersion(), Log: log, Holder: fmt.Sprintf("controller %s %d", host, os.Getpid())},
		Joined: func(deployment string, s *kube.Served) {
			wrapped := prometheus.WrapRegistererWith(prometheus.Labels{"deployment": deployment}, registry)
			wrapped.MustRegister(&prom.Collector{State: s.State, Seen: s.Seen})
			registry.MustRegister(leading{leads, deployment, s})
		},
	}
	server, address, err := f.serve(ctx, c, registry)
	if err != nil {
		return err
	}
	log.Info("the controller begins", "metrics", address)
	err = c.Run(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(closing))
}

// serve answers probes and Prometheus.
func (f *controllerFlags) serve(ctx context.Context, c *kube.Controller, registry *prometheus.Registry) (*http.Server, string, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return nil, "", fmt.Errorf("listen for metrics and probes: %w", err)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.Serve(ln) }() // it ends when it is shut down
	return s, ln.Addr().String(), nil
}

// leading tells Prometheus whether this controller drives a service.
type leading struct {
	desc       *prometheus.Desc
	deployment string
	served     *kube.Served
}

// Describe implements prometheus.Collector: one collector for each service shares the metric, so it is unchecked.
func (l leading) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (l leading) Collect(out chan<- prometheus.Metric) {
	v := 0.0
	if l.served.Leads() {
		v = 1
	}
	out <- prometheus.MustNewConstMetric(l.desc, prometheus.GaugeValue, v, l.deployment)
}
