package main

import (
	"encoding/json"
	"os"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// onCluster reports whether something was said that only makes sense on Kubernetes.
func (add *addition) onCluster() bool {
	return len(add.images) > 0 || add.template != "" || add.unpinned
}

// addToCluster records a release on Kubernetes.
func (a *app) addToCluster(c *cobra.Command, args []string, add *addition, ok bool, err error) error {
	switch {
	case err != nil:
		return err
	case !ok:
		return usage("--image, --manifest and --unpinned go with --platform kubernetes, --deployment or --namespace")
	case len(args) != 1 || add.artifact != "" || c.ArgsLenAtDash() >= 0:
		return usage("release add: on Kubernetes name one version and its images: covetctl release add v1.1.0 --image registry.example.com/shop:v1.1.0")
	}
	in := console.AddReleaseRequest{Images: add.images, Unpinned: add.unpinned,
		Manifest: rollout.Manifest{Instances: add.instances, ReadyTimeout: journal.Duration(add.ready)}}
	if in.Env, err = add.environment(); err != nil {
		return err
	}
	if add.template != "" {
		if in.Template, err = readDeployment(add.template); err != nil {
			return err
		}
	}
	return a.addImages(c, args[0], in)
}

// readDeployment reads a YAML or JSON file as JSON.
func readDeployment(path string) (json.RawMessage, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable("--manifest", path, err)
	}
	var v map[string]any
	if err := yaml.Unmarshal(raw, &v); err != nil {
		return nil, usage("--manifest %s: %v", path, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil, usage("--manifest %s: %v", path, err)
	}
	return out, nil
}
