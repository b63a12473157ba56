package console

import (
	"context"
	"iter"
	"time"
)

// Cluster is what only a service on Kubernetes can show beside what every service can. A Port whose target is in a cluster
// is one as well. Everything is answered from what is watched anyway: asking costs the API server nothing.
type Cluster interface {
	// View is what is there now. Neither it nor what it points to may be changed.
	View(ctx context.Context) (ClusterView, error)
	// ViewChanged is closed at the next change of what View answers.
	ViewChanged() <-chan struct{}
	// PodLogs yields the lines of one pod, or of every pod of a release, oldest first for each.
	PodLogs(ctx context.Context, q PodLogQuery) iter.Seq2[LogLine, error]
	// Targets lists where else covetctl could look: the contexts of the kubeconfig, and the namespaces of the current one.
	Targets(ctx context.Context) (Targets, error)
}

// ClusterView is what a cluster says of a service at one moment.
type ClusterView struct {
	At         time.Time       `json:"at"`
	Context    string          `json:"context"`
	Namespace  string          `json:"namespace"`
	Deployment string          `json:"deployment"`
	Traffic    string          `json:"traffic"` // what splits it: "Service shop", "HTTPRoute shop", …
	Pods       []*Pod          `json:"pods"`
	Events     []*ClusterEvent `json:"events"` // newest first
	Nodes      []Node          `json:"nodes"`  // those that run a pod of the service; empty where they may not be read
	Scalers    []Scaler        `json:"scalers"`
	Partial    bool            `json:"-"`                  // nodes and events are still being read
	Warnings   []string        `json:"warnings,omitempty"` // what the API server warned of, newest last, and what may not be read
}

// Pod is one pod of the service.
type Pod struct {
	Name       string      `json:"name"`
	Release    string      `json:"release"`
	Workload   string      `json:"workload"` // the Deployment it belongs to
	Phase      string      `json:"phase"`    // as kubectl's STATUS column: Running, CrashLoopBackOff, Terminating, …
	Ready      int         `json:"ready"`    // containers
	Containers []Container `json:"containers"`
	Reason     string      `json:"reason,omitempty"` // why it is not ready, in its own words
	Restarts   int         `json:"restarts"`
	Node       string      `json:"node,omitempty"`
	IP         string      `json:"ip,omitempty"`
	CreatedAt  time.Time   `json:"created_at"`
	Traffic    bool        `json:"traffic"` // an EndpointSlice of the service holds it as ready
}

// Container is one container of a pod.
type Container struct {
	Name     string    `json:"name"`
	Image    string    `json:"image"`
	ImageID  string    `json:"image_id,omitempty"` // what really runs
	Ready    bool      `json:"ready"`
	Restarts int       `json:"restarts"`
	State    string    `json:"state"` // running, waiting or terminated
	Reason   string    `json:"reason,omitempty"`
	ExitCode int       `json:"exit_code,omitempty"` // of the last end
	EndedAt  time.Time `json:"ended_at,omitzero"`   // the last end
}

// ClusterEvent is what a component of the cluster had to say about the service's objects.
type ClusterEvent struct {
	At      time.Time `json:"at"` // the last time
	Count   int       `json:"count"`
	Warning bool      `json:"warning"`
	Object  string    `json:"object"` // Kind/name
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	From    string    `json:"from,omitempty"`
}

// Node is a machine that runs pods of the service.
type Node struct {
	Name       string   `json:"name"`
	Ready      bool     `json:"ready"`
	Cordoned   bool     `json:"cordoned"`
	Pods       int      `json:"pods"` // of this service
	Version    string   `json:"version"`
	Conditions []string `json:"conditions,omitempty"` // what presses on it: MemoryPressure, …
}

// Scaler is a HorizontalPodAutoscaler of the service.
type Scaler struct {
	Name    string   `json:"name"`
	Target  string   `json:"target"` // Kind/name
	Min     int      `json:"min"`
	Max     int      `json:"max"`
	Current int      `json:"current"`
	Desired int      `json:"desired"`
	Metrics []string `json:"metrics,omitempty"` // "cpu 43% of 70%"
	Reason  string   `json:"reason,omitempty"`  // why it cannot scale, in its own words
}

// PodLogQuery chooses lines of pods. Pod or Release must be set.
type PodLogQuery struct {
	Pod       string
	Release   string // every pod of it
	Container string // empty for the pod's first
	Lines     int    // of the past, for each pod; 0 for all that is kept
	Follow    bool   // go on; pods that appear meanwhile are taken up
	Previous  bool   // of the container's life before this one
}

// Targets is where a console can be pointed to.
type Targets struct {
	Context    string          `json:"context"`   // the current one
	Namespace  string          `json:"namespace"` // the current one
	Contexts   []TargetContext `json:"contexts"`
	Namespaces []string        `json:"namespaces"`        // of the current context; empty where they may not be listed
	Hidden     string          `json:"hidden,omitempty"`  // why the namespaces are not all there
	Services   []string        `json:"services"`          // the Deployments of the namespace
	Production bool            `json:"production"`        // the current one looks like it
	Service    string          `json:"service,omitempty"` // the current Deployment
}

// TargetContext is one context of the kubeconfig.
type TargetContext struct {
	Name       string `json:"name"`
	Cluster    string `json:"cluster"`
	Namespace  string `json:"namespace"`
	User       string `json:"user"`
	Production bool   `json:"production"` // its name, cluster or namespace looks like production
}

// TargetRef names a target to switch to. Empty fields mean those of the current one.
type TargetRef struct {
	Context    string
	Namespace  string
	Deployment string
}
