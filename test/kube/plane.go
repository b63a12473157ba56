package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// plane is a control plane.
type plane struct {
	dir     string
	address string // where the API server listens
	port    int
	etcd    int
	peer    int
	nodes   int // simulated nodes
	crds    string
	crew    *crew
	extra   []string // more flags of the API server
}

func (p *plane) pki(file string) string { return filepath.Join(p.dir, "pki", file) }

func (p *plane) server() string {
	return "https://" + net.JoinHostPort(p.address, fmt.Sprint(p.port))
}

func (p *plane) kubeconfigOf(user string) string { return filepath.Join(p.dir, user+".kubeconfig") }

// prepare writes certificates and kubeconfigs.
func (p *plane) prepare() error {
	if err := makePKI(filepath.Join(p.dir, "pki"), p.address); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	for _, user := range []string{"admin", "controllers", "scheduler", nodeName, "proxy"} {
		if err := writeKubeconfig(p.kubeconfigOf(user), filepath.Join(p.dir, "pki"), user, p.server()); err != nil {
			return err
		}
	}
	return nil
}

// start runs the components and returns when the API server is ready.
func (p *plane) start(ctx context.Context) error {
	for name, args := range p.storeAndAPI() {
		if err := p.crew.start(name, args...); err != nil {
			return err
		}
	}
	if err := p.ready(ctx); err != nil {
		return err
	}
	for name, args := range p.loops() {
		if err := p.crew.start(name, args...); err != nil {
			return err
		}
	}
	return nil
}

func (p *plane) storeAndAPI() map[string][]string {
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", p.etcd), fmt.Sprintf("http://127.0.0.1:%d", p.peer)
	return map[string][]string{
		"etcd": {
			"", "--name", "covet", "--data-dir", filepath.Join(p.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn", "--quota-backend-bytes=8589934592",
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "covet=" + peer,
		},
		"kube-apiserver": append([]string{
			"", "--etcd-servers=" + client, "--bind-address=" + p.address, "--advertise-address=" + p.address,
			fmt.Sprintf("--secure-port=%d", p.port), "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged", "--profiling=false",
			"--tls-cert-file=" + p.pki("apiserver.crt"), "--tls-private-key-file=" + p.pki("apiserver.key"), "--client-ca-file=" + p.pki("ca.crt"),
			"--authorization-mode=Node,RBAC", "--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + p.pki("sa.pub"), "--service-account-signing-key-file=" + p.pki("sa.key"),
			"--kubelet-preferred-address-types=InternalIP", "--kubelet-client-certificate=" + p.pki("kubelet-client.crt"),
			"--kubelet-client-key=" + p.pki("kubelet-client.key"), "--max-requests-inflight=3000", "--max-mutating-requests-inflight=1000",
		}, p.extra...),
	}
}

func (p *plane) loops() map[string][]string {
	return map[string][]string{
		"kube-controller-manager": {
			"", "--kubeconfig=" + p.kubeconfigOf("controllers"), "--leader-elect=false", "--secure-port=0",
			"--service-account-private-key-file=" + p.pki("sa.key"), "--root-ca-file=" + p.pki("ca.crt"), "--use-service-account-credentials=true",
			"--kube-api-qps=500", "--kube-api-burst=1000", "--concurrent-deployment-syncs=10", "--concurrent-replicaset-syncs=10",
			"--horizontal-pod-autoscaler-sync-period=2s",
		},
		"kube-scheduler": {"", "--kubeconfig=" + p.kubeconfigOf("scheduler"), "--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000"},
	}
}

// clients are the API server's, as its administrator.
func (p *plane) clients() (*kubernetes.Clientset, dynamic.Interface, error) {
	config, err := p.rest()
	if err != nil {
		return nil, nil, err
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	loose, err := dynamic.NewForConfig(config)
	return typed, loose, err
}

func (p *plane) rest() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", p.kubeconfigOf("admin"))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 500, 1000
	return config, nil
}

// ready returns when the API server says that it is.
func (p *plane) ready(ctx context.Context) error {
	typed, _, err := p.clients()
	if err != nil {
		return err
	}
	return wait(ctx, "the API server", func() error {
		if err := p.crew.fallen("etcd", "kube-apiserver"); err != nil {
			return final{err}
		}
		_, err := typed.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

// final is an error after which waiting is of no use.
type final struct{ error }

// wait asks again and again until there is no error, the error is final, or ctx ends.
func wait(ctx context.Context, what string, ask func() error) error {
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if errors.As(err, new(final)) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready in time: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
