package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"github.com/covetpy/covet/ops/console"
)

// The kinds of objects that Covet has to do with.
var (
	deployments  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	replicaSets  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	services     = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	pods         = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	nodes        = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	events       = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	configMaps   = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets      = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	namespaces   = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	quotas       = schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}
	leases       = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	sliceKind    = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	scalers      = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}
	budgets      = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
	httpRoutes   = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
	virtualSvcs  = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}
	selfReview   = schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}
	accessReview = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
)

// client reaches one namespace of one cluster.
type client struct {
	namespace string
	dyn       dynamic.Interface
	typed     rest.Interface
	warnings  *warnings
}

func newClient(p located) (*client, error) {
	w := &warnings{}
	cfg := rest.CopyConfig(p.config)
	cfg.WarningHandlerWithContext = w
	shared, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, badConfig(err)
	}
	dyn, err := dynamic.NewForConfigAndClient(cfg, shared)
	if err != nil {
		return nil, badConfig(err)
	}
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(typedScheme()).WithoutConversion()
	cfg.GroupVersion = &schema.GroupVersion{}
	cfg.APIPath = "/"
	typed, err := rest.UnversionedRESTClientForConfigAndClient(cfg, shared)
	if err != nil {
		return nil, badConfig(err)
	}
	return &client{namespace: p.Namespace, dyn: dyn, typed: typed, warnings: w}, nil
}

// typedScheme knows the kinds that are read often enough to be worth their compact form.
func typedScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, discoveryv1.AddToScheme, autoscalingv2.AddToScheme, policyv1.AddToScheme,
		authorizationv1.AddToScheme, authenticationv1.AddToScheme,
	} {
		must(add(s))
	}
	return s
}

// on is a kind of object in the client's namespace.
func (c *client) on(r schema.GroupVersionResource) dynamic.ResourceInterface {
	return c.dyn.Resource(r).Namespace(c.namespace)
}

// path is where the typed client finds a kind of object.
func (c *client) path(r schema.GroupVersionResource) []string {
	p := []string{"/apis", r.Group, r.Version}
	if r.Group == "" {
		p = []string{"/api", r.Version}
	}
	if r != nodes && r != namespaces && r != selfReview && r != accessReview {
		p = append(p, "namespaces", c.namespace)
	}
	return append(p, r.Resource)
}

// create posts a typed object and fills it with the answer.
func (c *client) create(ctx context.Context, r schema.GroupVersionResource, o runtime.Object) error {
	return patiently(ctx, patience, func(ctx context.Context) error {
		return c.typed.Post().AbsPath(c.path(r)...).Body(o).Do(ctx).Into(o)
	})
}

// list reads every object of a kind.
func (c *client) list(ctx context.Context, r schema.GroupVersionResource, into runtime.Object) error {
	return patiently(ctx, patience, func(ctx context.Context) error { return c.typed.Get().AbsPath(c.path(r)...).Do(ctx).Into(into) })
}

// everything reads all of a kind, page by page; anew where a page's token has expired.
func (c *client) everything(ctx context.Context, r schema.GroupVersionResource, labels string) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return c.on(r).List(ctx, o) })
	err := pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: labels}, func(o runtime.Object) error {
		out = append(out, *o.(*unstructured.Unstructured))
		return nil
	})
	return out, err
}

// warnings collects what the API server warns of, each once.
type warnings struct {
	mu   sync.Mutex
	seen []string
}

// warningsKept bounds them.
const warningsKept = 20

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _, text string) {
	if code != 299 || text == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.seen, text) && len(w.seen) < warningsKept {
		w.seen = append(w.seen, text)
	}
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// transient reports whether an error may pass: the API server is away, overloaded or being started again.
func transient(err error) bool {
	var netErr net.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return false
	case apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsServiceUnavailable(err),
		apierrors.IsInternalError(err), apierrors.IsTimeout(err):
		return true
	case errors.As(err, &netErr):
		return true
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Code >= http.StatusInternalServerError
	}
	return !errors.As(err, new(*console.Error)) && (errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "EOF") ||
		strings.Contains(err.Error(), "connection"))
}

// patiently repeats what may be repeated while the trouble may pass, for as long as the context lasts, patience at the most.
func patiently(ctx context.Context, patience time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wait := 50 * time.Millisecond
	for {
		err := do(ctx)
		if !transient(err) {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return err
		case <-t.C:
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// patience is how long an action waits for an API server that is away.
const patience = 20 * time.Second

// plainly is an error without the address that was asked, of which only the server matters to people: the reason is what must be read.
func plainly(err error) string {
	var asked *url.Error
	if !errors.As(err, &asked) {
		return err.Error()
	}
	u, bad := url.Parse(asked.URL)
	var dialled *net.OpError
	if bad != nil || errors.As(err, &dialled) && dialled.Op == "dial" && dialled.Addr != nil {
		return asked.Err.Error() // which names the address
	}
	return u.Host + ": " + asked.Err.Error()
}

// inWords makes an error of the API server one for people.
func inWords(doing string, err error) error {
	var known *console.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case apierrors.IsForbidden(err):
		return &console.Error{Code: console.CodeDenied, Message: fmt.Sprintf("%s: %v", doing, err),
			Hint: "ask for that permission: deploy/kubernetes/controller-rbac.yaml lists all that Covet needs"}
	case apierrors.IsUnauthorized(err):
		return &console.Error{Code: console.CodeDenied, Message: fmt.Sprintf("%s: the API server does not know who asks: %v", doing, err),
			Hint: "log in again: kubectl auth whoami shows who you are"}
	case apierrors.IsNotFound(err):
		return &console.Error{Code: console.CodeNotFound, Message: fmt.Sprintf("%s: %v", doing, err)}
	case apierrors.ReasonForError(err) == metav1.StatusReasonUnknown && transient(err), errors.Is(err, context.DeadlineExceeded):
		return &console.Error{Code: console.CodeUnreachable, Message: fmt.Sprintf("%s: the API server does not answer: %s", doing, plainly(err)),
			Hint: "kubectl cluster-info tells whether it is up; the traffic stays as it is meanwhile"}
	}
	return &console.Error{Code: console.CodeInternal, Message: fmt.Sprintf("%s: %v", doing, err)}
}
