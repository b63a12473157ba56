package rollout

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Workload is a release on a platform of containers: what identifies it, and the name of the object that holds all of it.
type Workload struct {
	Images   map[string]string `json:"images"`           // container → image, pinned by digest where one is known
	Template string            `json:"template"`         // sha256 of the pod template as it was recorded, hex
	Rendered string            `json:"rendered"`         // sha256 of the pod template as it is run: pinned, with the copies below
	Config   []ConfigCopy      `json:"config,omitempty"` // what it was configured with, by kind and name
	Record   string            `json:"record"`           // the object that holds the template
}

// ConfigCopy is one object that a release takes its configuration from, as it was when the release was recorded.
type ConfigCopy struct {
	Kind string `json:"kind"` // ConfigMap or Secret
	Name string `json:"name"`
	Hash string `json:"hash,omitempty"` // sha256 of its content, hex; empty where it could not be read
	Copy string `json:"copy,omitempty"` // the name of the copy that is kept; empty where there is none
}

func (w Workload) faults(instances int) []error {
	var faults []error
	if len(w.Images) == 0 {
		faults = append(faults, errors.New("image: none was given; for example --image registry.example.com/shop:v1.2.0"))
	}
	if instances < 0 || instances > MaxInstances {
		faults = append(faults, fmt.Errorf("instances: %d is not between 0 and %d", instances, MaxInstances))
	}
	return faults
}

// Image is the image of the release's only container, or of all of them, for people.
func (w Workload) Image() string {
	out := ""
	for i, name := range slices.Sorted(maps.Keys(w.Images)) {
		if i > 0 {
			out += ", "
		}
		if len(w.Images) > 1 {
			out += name + "="
		}
		out += w.Images[name]
	}
	return out
}

func (w Workload) fields(instances int) map[string]string {
	out := map[string]string{"template": w.Template[:min(12, len(w.Template))]}
	if instances > 0 {
		out["instances"] = fmt.Sprint(instances)
	}
	for name, image := range w.Images {
		out["image "+name] = image
	}
	for _, c := range w.Config {
		out[c.Kind+" "+c.Name] = c.Hash[:min(12, len(c.Hash))]
	}
	return out
}
