package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// node is the parts of a real node.
type node struct {
	*plane
	images string
	cgroup string // below which the pods' are
}

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

// network gives the node its loopback, and an address at which pods and components find it.
func (n *node) network() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	card := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "node0"}}
	address, err := netlink.ParseAddr(nodeAddress + "/24")
	if err != nil {
		return err
	}
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	for _, step := range []func() error{
		func() error { return netlink.LinkSetUp(lo) }, func() error { return netlink.LinkAdd(card) },
		func() error { return netlink.AddrAdd(card, address) }, func() error { return netlink.LinkSetUp(card) },
		func() error { return netlink.RouteAdd(&netlink.Route{LinkIndex: card.Index, Dst: everywhere}) },
		func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("the node's network: %w", err)
		}
	}
	// Where bridged packets can be filtered, kube-proxy needs them to be; where they can't, it works without.
	_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0)
	return nil
}

// configure writes the components' configuration.
func (n *node) configure() error {
	if err := n.makeCgroups(); err != nil {
		return err
	}
	if err := os.MkdirAll(n.path("cni"), 0o700); err != nil {
		return err
	}
	fill := strings.NewReplacer("DIR", n.dir, "CGROUP", n.cgroup)
	for file, text := range map[string]string{
		"containerd.toml": containerdConfig, "cni/10-covet.conflist": cniConfig, "kubelet.yaml": kubeletConfig, "proxy.yaml": proxyConfig,
	} {
		if err := os.WriteFile(n.path(file), []byte(fill.Replace(text)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// makeCgroups makes the node's group in every hierarchy of the machine, so that two nodes never tidy away each other's pods.
func (n *node) makeCgroups() error {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil { // version 2: one hierarchy
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpu +cpuset +memory +pids"), 0) // the kubelet names what it lacks
		if err := os.MkdirAll("/sys/fs/cgroup"+n.cgroup, 0o755); err != nil {
			return err
		}
		_ = os.WriteFile("/sys/fs/cgroup"+n.cgroup+"/cgroup.subtree_control", []byte("+cpu +cpuset +memory +pids"), 0)
		return nil
	}
	hierarchies, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := os.MkdirAll(h+n.cgroup, 0o755); err != nil {
			return fmt.Errorf("make the node's cgroup: %w", err)
		}
	}
	return nil
}

// sweepCgroups removes the groups of nodes that have ended. Those of living nodes have processes in them, and stay.
func sweepCgroups() {
	for _, pattern := range []string{"/sys/fs/cgroup/covet-kube-*", "/sys/fs/cgroup/*/covet-kube-*"} {
		tops, _ := filepath.Glob(pattern) // the pattern is well formed
		for _, top := range tops {
			var pid int
			if _, err := fmt.Sscanf(filepath.Base(top), "covet-kube-%d", &pid); err != nil || (pid != os.Getpid() && livingProcess(pid)) {
				continue
			}
			removeGroups(top)
		}
	}
}

func livingProcess(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}

// removeGroups removes a cgroup and those in it, deepest first.
func removeGroups(top string) {
	entries, err := os.ReadDir(top)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeGroups(filepath.Join(top, e.Name()))
		}
	}
	_ = os.Remove(top) // one that is busy is left for the next sweep
}

func (n *node) startContainerd(ctx context.Context) error {
	if err := n.crew.start("containerd", "containerd", "-c", n.path("containerd.toml")); err != nil {
		return err
	}
	if err := wait(ctx, "containerd", func() error {
		if err := n.crew.fallen("containerd"); err != nil {
			return final{err}
		}
		return n.ctr(ctx, "version")
	}); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(n.images, "*.tar"))
	if err != nil {
		return err
	}
	for _, a := range archives {
		if err := n.ctr(ctx, "-n", "k8s.io", "images", "import", a); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) ctr(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"-a", n.path("containerd.sock")}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// startKubelet starts the kubelet and kube-proxy, and returns when the node is ready.
func (n *node) startKubelet(ctx context.Context) error {
	if err := n.crew.start("kubelet", "", "--config="+n.path("kubelet.yaml"), "--kubeconfig="+n.kubeconfigOf(nodeName), "--hostname-override="+nodeName,
		"--node-ip="+nodeAddress, "--root-dir="+n.path("kubelet"), "--cert-dir="+n.path("kubelet-pki")); err != nil {
		return err
	}
	if err := n.crew.start("kube-proxy", "", "--config="+n.path("proxy.yaml")); err != nil {
		return err
	}
	typed, _, err := n.clients()
	if err != nil {
		return err
	}
	return wait(ctx, "the node", func() error {
		if err := n.crew.fallen("kubelet", "kube-proxy", "containerd", "etcd", "kube-apiserver"); err != nil {
			return final{err}
		}
		node, err := typed.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err == nil && !readyNode(node) {
			err = errors.New("the node is not ready: " + n.crew.lastWords("kubelet"))
		}
		return err
	})
}

const containerdConfig = `version = 2
root = "DIR/containerd/root"
state = "DIR/containerd/state"
oom_score = 0
[grpc]
  address = "DIR/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "covet.test/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "DIR/cni"
`

const cniConfig = `{"cniVersion":"0.4.0","name":"covet","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}],"dataDir":"DIR/cni-addresses"}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: DIR/pki/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://DIR/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: CGROUP
failCgroupV1: false
failSwapOn: false
clusterDNS: []
tlsCertFile: DIR/pki/node1.crt
tlsPrivateKeyFile: DIR/pki/node1.key
podLogsDir: DIR/podlogs
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
makeIPTablesUtilChains: false
enforceNodeAllocatable: []
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
localStorageCapacityIsolation: false
registryPullQPS: 0
kubeAPIQPS: 100
kubeAPIBurst: 200
eventRecordQPS: 0
serializeImagePulls: false
resolvConf: ""
`

// Not kube-proxy's nftables mode: Linux (6.18) looks up the verdict map of a rule by the generation that is current when it gets there. A
// packet that entered the chain before a change of endpoints finds no verdict in it after, goes on without a destination, and is
// refused as one to an unused port of a Service: one request in tens of thousands on a busy machine, whatever is rolled out.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: DIR/proxy.kubeconfig}
mode: iptables
clusterCIDR: 10.244.0.0/24
hostnameOverride: node1
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {minSyncPeriod: 100ms, syncPeriod: 30s}
nodePortAddresses: [primary]
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
`
