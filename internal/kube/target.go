package kube

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"github.com/covetpy/covet/ops/console"
)

// Target is where a service runs. Empty fields mean what kubectl would take: KUBECONFIG or ~/.kube/config, its current
// context, that context's namespace; and the only Deployment there.
type Target struct {
	Kubeconfig  string
	Context     string
	Namespace   string
	Deployment  string
	Service     string // the Kubernetes Service in front of it; empty for those that select its pods
	Environment string // as shown; empty for the context's name

	// Metrics is where the pods show covetd's metrics: PORT, /PATH or PORT/PATH; empty for what their annotations, their ports' names
	// and their readiness probe say; MetricsOff for nowhere.
	Metrics string

	// Keep is how many releases are kept, beside those that a rollback may need: 0 for console.KeepReleases, less for all.
	Keep int

	// Router is what splits the traffic, one of RouterNames; empty for what is there.
	Router string
}

// routerService asks for the Services' selectors alone: a canary's share is then its number of instances.
const routerService = "service"

// RouterNames are what Target.Router may be.
func RouterNames() []string {
	out := []string{routerService}
	for _, d := range dialects {
		out = append(out, strings.ToLower(d.kind))
	}
	return out
}

// check refuses what no cluster could make sense of.
func (t Target) check() error {
	if t.Router != "" && !slices.Contains(RouterNames(), strings.ToLower(t.Router)) {
		return &console.Error{Code: console.CodeUsage, Message: fmt.Sprintf("router %q: choose one of %s", t.Router, strings.Join(RouterNames(), ", "))}
	}
	if err := ParseMetrics(t.Metrics); err != nil {
		return &console.Error{Code: console.CodeUsage, Message: err.Error()}
	}
	return nil
}

// located is a Target with everything filled in.
type located struct {
	Target
	config  *rest.Config
	cluster string // its name in the kubeconfig
	user    string // the kubeconfig's name for who asks
	server  string
	inside  bool // this program runs in a pod of the cluster, and reaches the others
}

func (t Target) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = t.Kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{
		CurrentContext: t.Context, Context: api.Context{Namespace: t.Namespace},
	})
}

var (
	reading sync.Mutex
	quiet   sync.Once
)

// resolve reads the kubeconfig, or the pod's own service account where there is none.
func (t Target) resolve() (located, error) {
	if err := t.check(); err != nil {
		return located{}, err
	}
	reading.Lock() // client-go keeps defaults of all kubeconfigs in one place
	defer reading.Unlock()
	quiet.Do(func() { klog.SetLogger(logr.Discard()) }) // it would write its own troubles over the console
	loader := t.loader()
	raw, err := loader.RawConfig()
	if err != nil {
		return located{}, badConfig(err)
	}
	cfg, err := loader.ClientConfig()
	if err != nil {
		return located{}, badConfig(err)
	}
	p := located{Target: t, config: cfg, server: cfg.Host}
	if p.Namespace, _, err = loader.Namespace(); err != nil {
		return located{}, badConfig(err)
	}
	p.Context = cmp.Or(t.Context, raw.CurrentContext)
	if c := raw.Contexts[p.Context]; c != nil {
		p.user, p.cluster = c.AuthInfo, c.Cluster
	}
	if p.Context == "" {
		p.Context, p.inside = "in-cluster", true
	}
	p.Environment = cmp.Or(t.Environment, environment(p.Context, p.cluster, p.Namespace))
	tune(cfg)
	return p, nil
}

// tune lets the API server's own fairness decide how much is too much; the client's default of 5 requests a second would make
// an emergency wait.
func tune(cfg *rest.Config) {
	cfg.QPS, cfg.Burst = 50, 100
	cfg.UserAgent = "covet"
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
}

func badConfig(err error) error {
	hint := "name a kubeconfig with KUBECONFIG or --kubeconfig, and a context in it with --context"
	if clientcmd.IsEmptyConfig(err) {
		return &console.Error{Code: console.CodeUsage, Message: "there is no kubeconfig, neither where KUBECONFIG says nor in ~/.kube/config", Hint: hint}
	}
	return &console.Error{Code: console.CodeUsage, Message: fmt.Sprintf("the kubeconfig cannot be used: %v", err), Hint: hint}
}

// productionName is how names of production look: as a word of their own.
var productionName = regexp.MustCompile(`(?i)(^|[^a-z])(prod|production|prd|live)([^a-z]|$)`)

// Production reports whether any of the names looks like production.
func Production(names ...string) bool {
	return slices.ContainsFunc(names, productionName.MatchString)
}

// environment is how a target is called where nobody has named it: as its context, and as what makes it production where that
// is not the context's name.
func environment(context, cluster, namespace string) string {
	for _, name := range []string{cluster, namespace} {
		if !Production(context) && Production(name) {
			return context + "/" + name
		}
	}
	return context
}

// contexts lists the kubeconfig's contexts.
func (t Target) contexts() ([]console.TargetContext, error) {
	raw, err := t.loader().RawConfig()
	if err != nil {
		return nil, badConfig(err)
	}
	out := []console.TargetContext{}
	for name, c := range raw.Contexts {
		out = append(out, console.TargetContext{
			Name: name, Cluster: c.Cluster, Namespace: cmp.Or(c.Namespace, "default"), User: c.AuthInfo,
			Production: Production(name, c.Cluster, c.Namespace),
		})
	}
	slices.SortFunc(out, func(a, b console.TargetContext) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// errNoDeployment is why a service cannot be found.
var errNoDeployment = errors.New("no Deployment")

// dialTimeout bounds one request that is not a watch: an API server that answers later is as good as none.
const requestTimeout = 15 * time.Second
