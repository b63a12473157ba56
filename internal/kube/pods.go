package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/covetpy/covet/ops/rollout"
)

// hopeless are the reasons of a waiting container that do not pass by waiting.
var hopeless = map[string]int{
	"ImagePullBackOff": 2, "InvalidImageName": 2, "ErrImageNeverPull": 2, "CreateContainerConfigError": 2, "CreateContainerError": 2,
	"RunContainerError": 2, "ErrImagePull": 1, "ImageInspectError": 1,
}

// observe says what a pod does, in the words of ops/rollout.
func observe(p *corev1.Pod) sighting {
	s := sighting{started: p.CreationTimestamp.Time, since: p.CreationTimestamp.Time, restarts: restarts(p)}
	if p.Status.StartTime != nil {
		s.started = p.Status.StartTime.Time
	}
	ready := condition(p, corev1.PodReady)
	if ready != nil && !ready.LastTransitionTime.IsZero() {
		s.since = ready.LastTransitionTime.Time
	}
	s.state, s.reason = stateOf(p, ready)
	if s.state == rollout.BackOff || s.state == rollout.Starting {
		s.failures = startFailures(p)
	}
	return s
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	at := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
	if at < 0 {
		return nil
	}
	return &p.Status.Conditions[at]
}

func restarts(p *corev1.Pod) int {
	n := 0
	for _, c := range p.Status.ContainerStatuses {
		n += int(c.RestartCount)
	}
	for _, c := range p.Status.InitContainerStatuses {
		n += int(c.RestartCount)
	}
	return n
}

// stateOf is the pod's state and, unless it is ready, why.
func stateOf(p *corev1.Pod, ready *corev1.PodCondition) (rollout.InstanceState, string) {
	switch {
	case p.DeletionTimestamp != nil:
		return rollout.Stopping, "it is being deleted"
	case ready != nil && ready.Status == corev1.ConditionTrue:
		return rollout.Ready, ""
	case p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded:
		return rollout.Stopping, strings.TrimSpace(p.Status.Reason + " " + p.Status.Message)
	}
	if why := waiting(p); why != "" {
		if backsOff(p) {
			return rollout.BackOff, why
		}
		return rollout.Starting, why
	}
	if c := condition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse {
		return rollout.Starting, c.Reason + ": " + c.Message
	}
	if started(p) {
		why := "its containers run, but are not ready (the readiness probe fails)"
		if ready != nil && ready.Message != "" {
			why += ": " + ready.Message
		}
		if restarts(p) > 0 {
			return rollout.Unready, why
		}
		return rollout.Starting, why
	}
	return rollout.Starting, "its containers are being created"
}

func started(p *corev1.Pod) bool {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running == nil {
			return false
		}
	}
	return len(p.Status.ContainerStatuses) > 0
}

func statuses(p *corev1.Pod) []corev1.ContainerStatus {
	return append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...)
}

// waiting is why a container of the pod does not run, in the kubelet's words.
func waiting(p *corev1.Pod) string {
	for _, c := range statuses(p) {
		if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			why := w.Reason
			if w.Message != "" {
				why += ": " + w.Message
			}
			if t := c.LastTerminationState.Terminated; t != nil {
				why += fmt.Sprintf(" (container %s ended with %s)", c.Name, ending(t))
			}
			return why
		}
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			return fmt.Sprintf("container %s ended with %s", c.Name, ending(t))
		}
	}
	return ""
}

func ending(t *corev1.ContainerStateTerminated) string {
	what := fmt.Sprintf("exit status %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" {
		what += ", " + t.Reason
	}
	if t.Message != "" {
		what += ": " + strings.TrimSpace(t.Message)
	}
	return what
}

func backsOff(p *corev1.Pod) bool {
	for _, c := range statuses(p) {
		if w := c.State.Waiting; w != nil && (w.Reason == "CrashLoopBackOff" || hopeless[w.Reason] > 0) {
			return true
		}
	}
	return false
}

// startFailures is how often the pod failed to start in a row. Reasons that waiting does not mend count as two.
func startFailures(p *corev1.Pod) int {
	n := 0
	for _, c := range statuses(p) {
		n = max(n, int(c.RestartCount))
		if w := c.State.Waiting; w != nil {
			n = max(n, hopeless[w.Reason])
			if w.Reason == "CrashLoopBackOff" && c.RestartCount > 0 {
				n = max(n, int(c.RestartCount))
			}
		}
	}
	return n
}

// owner is the ReplicaSet that made the pod.
func owner(p *corev1.Pod) string {
	for _, o := range p.OwnerReferences {
		if o.Kind == "ReplicaSet" {
			return o.Name
		}
	}
	return ""
}
