// Package kube is the platform of a Kubernetes namespace: Deployments, Services and routes behind the interfaces of
// ops/rollout, the journal and the release records in the cluster itself, and the console.Port that covetctl uses with
// nothing but a kubeconfig.
//
// A service is one Deployment, the primary, which people and other programs know. While a rollout needs two releases side by
// side there is a second one, the candidate, which Covet owns; at rest there is none, and nothing of Covet's is in the way.
package kube

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// manager is Covet's name in managedFields.
const manager = "covet"

// The marks that Covet leaves on objects.
const (
	labelService = "covet.dev/service" // on every object of Covet's own: the Deployment it is for
	labelSlot    = "covet.dev/slot"    // on pods: which of the two Deployments made them
	labelKind    = "covet.dev/kind"    // on objects of Covet's own: journal, record, config

	annDeployment = "covet.dev/deployment" // on every object of Covet's own: as labelService, in full
	annVersion    = "covet.dev/version"    // on pods and Deployments: the release
	annWrote      = "covet.dev/wrote"      // on objects shared with others: in which turn Covet wrote last, and what
	annTraffic    = "covet.dev/traffic"    // on the Service: the shares in force
	annPaused     = "covet.dev/held"       // on the Deployment, for a moment: it is paused by hand.hold
	annFence      = "covet.dev/fence"      // on objects shared with others, for a moment: see hand.fence
	annBefore     = "covet.dev/before"     // on objects shared with others: what Covet will restore
)

// The slots: which of the two Deployments.
const (
	primary   = "primary"
	candidate = "candidate"
)

// slots lists them in the order of preference.
var slots = []string{primary, candidate}

// maxName is the longest name that a Service, and so everything here, may have.
const maxName = 63

// suffixed is a name with a suffix, shortened where it would be too long, still unique by a hash.
func suffixed(name, suffix string) string {
	if len(name)+len(suffix) <= maxName {
		return name + suffix
	}
	sum := sha256.Sum256([]byte(name))
	tag := "-" + hex.EncodeToString(sum[:4])
	return strings.TrimRight(name[:maxName-len(suffix)-len(tag)], "-.") + tag + suffix
}

// second is the name of what stands beside an object of the name: the candidate's Deployment or Service.
func second(name string) string { return suffixed(name, "-covet") }

// prefixed is the name of one of Covet's own objects for a Deployment.
func prefixed(deployment, what string) string {
	if len(deployment)+len(what)+7 <= 253 {
		return "covet-" + deployment + "-" + what
	}
	return "covet-" + suffixed(deployment, "") + "-" + what
}

// digest is the sha256 of a value's canonical JSON, hex. Maps are written in key order.
func digest(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("kube: what came as JSON is always JSON: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
