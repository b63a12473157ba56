// Command covet-kube is a Kubernetes cluster in one program, for tests and the demonstration: etcd, the API server, the
// controllers, the scheduler, KWOK's simulated kubelets, and for real pods the kubelet and kube-proxy. They share most of their
// packages, so one binary is a fifth of the size of seven.
//
//	covet-kube up --dir DIR [--nodes N] [--node]   start a cluster; it ends when stdin does
//	covet-kube COMPONENT [flags]                   one component, as `up` runs it
//
// It is a module of its own so that none of this ever touches the product's dependencies.
package main

import (
	"context"
	"fmt"
	"os"
	_ "time/tzdata" // components parse time zones where the machine has none

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const usage = "usage: covet-kube up [flags] | etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet|kube-proxy|kwok [flags]"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	name := os.Args[1]
	os.Args = os.Args[1:] // each component parses os.Args as if it were alone
	if command := component(name); command != nil {
		os.Exit(cli.Run(command))
	}
	if err := run(name, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "covet-kube %s: %v\n", name, err)
		os.Exit(1)
	}
}

// component is the command of a component of Kubernetes; nil for anything else.
func component(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return kcm.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		return proxy.NewProxyCommand()
	}
	return nil
}

// run does what is not a component of Kubernetes.
func run(name string, args []string) error {
	switch name {
	case "up":
		return up(args)
	case "etcd":
		etcdmain.Main(os.Args)
		return nil
	case "kwok":
		return kwok()
	case "node-init":
		return nodeInit(args)
	case "node-up":
		return nodeUp(args)
	}
	return fmt.Errorf("unknown component\n%s", usage)
}
