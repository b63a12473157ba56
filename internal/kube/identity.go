package kube

import (
	"cmp"
	"context"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// whoami is what the API server takes the caller for.
func (c *client) whoami(ctx context.Context, fallback string) string {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.create(ctx, selfReview, review); err != nil {
		return cmp.Or(fallback, "somebody")
	}
	return cmp.Or(review.Status.UserInfo.Username, fallback, "somebody")
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
