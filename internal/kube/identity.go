package kube

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/covetpy/covet/ops/console"
)

// whoami is what the API server takes the caller for.
func (c *client) whoami(ctx context.Context, fallback string) console.Caller {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.create(ctx, selfReview, review); err != nil {
		return console.Caller{Name: cmp.Or(fallback, "somebody")}
	}
	user := review.Status.UserInfo
	return console.Caller{Name: cmp.Or(user.Username, fallback, "somebody"), Groups: user.Groups}
}

// RolesObject is the ConfigMap of a namespace that says which groups have which role: a key for each role. Where there is none,
// whoever the API server lets change the service may decide everything.
const RolesObject = "covet-roles"

// rolesFor is how long an answer about roles is believed.
const rolesFor = 10 * time.Second

// rolesKeeper knows who has which role in a namespace.
type rolesKeeper struct {
	client *client

	mu    sync.Mutex
	known console.Roles
	at    time.Time
}

// get reads the roles, unless they were read a moment ago.
func (r *rolesKeeper) get(ctx context.Context) (console.Roles, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && now().Sub(r.at) < rolesFor {
		return r.known, nil
	}
	var o *unstructured.Unstructured
	err := patiently(ctx, patience, func(ctx context.Context) (err error) {
		o, err = r.client.on(configMaps).Get(ctx, RolesObject, metav1.GetOptions{})
		return err
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, inWords("read who has which role (ConfigMap "+RolesObject+")", err)
	}
	found := console.Roles{}
	if err == nil {
		data, _, err := unstructured.NestedStringMap(o.Object, "data")
		if err != nil {
			return nil, fmt.Errorf("read ConfigMap %s: %w", RolesObject, err)
		}
		if found, err = console.ParseRoles(data); err != nil {
			return nil, &console.Error{Code: console.CodeRefused, Message: fmt.Sprintf("ConfigMap %s cannot be understood: %v", RolesObject, err),
				Hint: "put it right: until then nobody can be told to have a role"}
		}
	}
	r.known, r.at = found, now()
	return found, nil
}

// Roles is who has which role, and which of them the caller has.
func (p *Port) Roles(ctx context.Context) (all console.Roles, own []console.Duty, err error) {
	all, err = p.roles.get(ctx)
	return all, all.Of(p.caller), err
}

// permission is one thing that Covet must be allowed to do.
type permission struct {
	resource schema.GroupVersionResource
	sub      string
	verb     string
	why      string
}

func (p permission) String() string {
	r := p.resource.Resource
	if p.resource.Group != "" {
		r += "." + p.resource.Group
	}
	if p.sub != "" {
		r += "/" + p.sub
	}
	return p.verb + " " + r + " (" + p.why + ")"
}

// permissions lists what a rollout needs. Secrets and routes are asked for only where there is one to deal with.
func permissions(withSecrets bool, routes []route) []permission {
	out := []permission{
		{deployments, "", "patch", "to put a release into the Deployment"},
		{deployments, "", "create", "for the candidate's own Deployment"},
		{deployments, "", "delete", "to remove the candidate's Deployment"},
		{deployments, "scale", "patch", "to scale up before traffic returns"},
		{services, "", "patch", "to move the traffic"},
		{services, "", "create", "for the candidate's own Service"},
		{services, "", "delete", "to remove the candidate's Service"},
		{configMaps, "", "create", "for the journal and the releases' records"},
		{configMaps, "", "update", "for the journal"},
		{leases, "", "create", "to tell others who drives"},
		{leases, "", "update", "to tell others who drives"},
	}
	if withSecrets {
		out = append(out, permission{secrets, "", "get", "to keep a copy with the release"}, permission{secrets, "", "create", "to keep a copy with the release"})
	}
	for _, r := range routes {
		out = append(out, permission{r.dialect.gvr, "", "patch", "to move the traffic"})
	}
	return out
}

// missing asks the API server which of the permissions the caller has not got.
func (c *client) missing(ctx context.Context, all []permission) ([]string, error) {
	lacking := make([]string, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(6)
	for i, p := range all {
		group.Go(func() error {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: c.namespace, Group: p.resource.Group, Resource: p.resource.Resource, Subresource: p.sub, Verb: p.verb,
				},
			}}
			if err := c.create(ctx, accessReview, review); err != nil {
				return err
			}
			if !review.Status.Allowed {
				lacking[i] = p.String()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, inWords("ask what you may do", err)
	}
	var out []string
	for _, l := range lacking {
		if l != "" {
			out = append(out, l)
		}
	}
	return out, nil
}
