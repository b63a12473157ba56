package main

import (
	"fmt"
	"strings"

	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	nodelease "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/yaml"
)

// How a simulated pod behaves is in its image's tag, or in the annotation `kube.covet.test/behaves` of its template:
//
//	crash     CrashLoopBackOff, one more restart every five seconds
//	missing   ImagePullBackOff
//	notready  runs, and never becomes ready
//	slow      ready only after eight seconds
//	latefail  ready for ten seconds, then CrashLoopBackOff
//
// Every other is ready after half a second to two. The digest that it runs (imageID) is that of its image, the one in the
// annotation `kube.covet.test/digest`, or made from its image's name.
const (
	behaves = "kube.covet.test/behaves"
	digest  = "kube.covet.test/digest"
)

type (
	object     = map[string]any
	expression = object
)

// stages is KWOK's configuration.
func stages() (string, error) {
	ready, err := podReady()
	if err != nil {
		return "", err
	}
	docs := []string{nodefast.DefaultNodeInit, nodelease.DefaultNodeHeartbeatWithLease, podfast.DefaultPodComplete}
	for _, s := range append(ready, failing()...) {
		text, err := yaml.Marshal(s)
		if err != nil {
			return "", err
		}
		docs = append(docs, string(text))
	}
	return strings.Join(docs, "\n---\n"), nil
}

// podReady is KWOK's own stage of a pod that becomes ready, at the two speeds.
func podReady() ([]object, error) {
	var out []object
	for _, speed := range []struct {
		name          string
		delay, jitter int
		only          expression
	}{
		{"pod-ready", 500, 1500, not("crash|notready|missing|slow")},
		{"pod-ready-slowly", 8000, 8500, is("slow")},
	} {
		var s struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   object `json:"metadata"`
			Spec       struct {
				ResourceRef object `json:"resourceRef"`
				Selector    struct {
					MatchExpressions []expression `json:"matchExpressions"`
				} `json:"selector"`
				Next struct {
					StatusTemplate string `json:"statusTemplate"`
				} `json:"next"`
			} `json:"spec"`
		}
		if err := yaml.UnmarshalStrict([]byte(podfast.DefaultPodReady), &s); err != nil {
			return nil, fmt.Errorf("read KWOK's stage pod-ready: %w", err)
		}
		text := strings.Replace(s.Spec.Next.StatusTemplate, "{{ range .spec.containers }}\n- image", "{{ $root := . }}\n{{ range .spec.containers }}\n"+imageID+"  image", 1)
		if text == s.Spec.Next.StatusTemplate {
			return nil, fmt.Errorf("KWOK's stage pod-ready has another shape than was known: give its containers an imageID")
		}
		out = append(out, stage(speed.name, speed.delay, speed.jitter, text, append(s.Spec.Selector.MatchExpressions, speed.only)...))
	}
	return out, nil
}

// imageID begins a container's status.
const imageID = `- imageID: {{ $said := "" }}{{ with $root.metadata.annotations }}{{ $said = index . "` + digest + `" }}{{ end -}}
  {{ $bare := regexReplaceAll "(:[^:/@]*)?(@.*)?$" .image "" -}}
  {{ if $said }}{{ printf "%s@%s" $bare $said | Quote }}{{ else if contains "@sha256:" .image }}{{ printf "%s@%s" $bare (splitList "@" .image | last) | Quote }}{{ else }}{{ printf "%s@sha256:%s" $bare (sha256sum .image) | Quote }}{{ end }}
`

// failing are the stages of the pods that fail, and of those that go.
func failing() []object {
	pending, running := in(".status.phase", "Pending"), in(".status.phase", "Running")
	crash := stage("pod-crash", 500, 1000, unready+crashed+placed("Running"), living(), pending, is("crash"))
	event(crash, "BackOff", "Back-off restarting failed container")
	again := stage("pod-crash-again", 5000, 6000, unready+crashed, living(), running, is("crash"))
	initialised := expression{"key": `.status.conditions[] | select(.type=="Initialized") | .status`, "operator": "NotIn", "values": []string{"True"}}
	notready := stage("pod-notready", 500, 1000, unready+runs+placed("Running"), living(), pending, is("notready"), initialised)
	unpulled := expression{"key": ".status.containerStatuses", "operator": "DoesNotExist"}
	missing := stage("pod-missing", 500, 1000, unready+unpullable+placed("Pending"), living(), pending, is("missing"), unpulled)
	event(missing, "Failed", "Error: ImagePullBackOff")
	isReady := in(`.status.conditions[] | select(.type=="Ready") | .status`, "True")
	late := stage("pod-latefail", 10000, 11000, unready+crashed, living(), isReady, is("latefail"))
	event(late, "BackOff", "Back-off restarting failed container")
	gone := stage("pod-delete", 500, 1000, "", expression{"key": ".metadata.deletionTimestamp", "operator": "Exists"})
	gone["spec"].(object)["next"] = object{"delete": true}
	return []object{crash, again, notready, missing, late, gone}
}

func stage(name string, delay, jitter int, template string, when ...expression) object {
	return object{
		"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": object{"name": name},
		"spec": object{
			"resourceRef": object{"apiGroup": "v1", "kind": "Pod"}, "selector": object{"matchExpressions": when},
			"delay": object{"durationMilliseconds": delay, "jitterDurationMilliseconds": jitter}, "next": object{"statusTemplate": template},
		},
	}
}

func event(stage object, reason, message string) {
	stage["spec"].(object)["next"].(object)["event"] = object{"type": "Warning", "reason": reason, "message": message}
}

func in(key, value string) expression {
	return expression{"key": key, "operator": "In", "values": []string{value}}
}

func living() expression {
	return expression{"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
}

// matches is a jq expression of whether the pod behaves in one of the ways.
func matches(ways string) string {
	return fmt.Sprintf(`[(.spec.containers[].image | test(":(%[1]s)")), ((.metadata.annotations // {})[%[2]q] // "" | test("^(%[1]s)$"))] | any`, ways, behaves)
}

func is(ways string) expression {
	return expression{"key": matches(ways), "operator": "In", "values": []string{"true"}}
}

func not(ways string) expression {
	return expression{"key": matches(ways), "operator": "NotIn", "values": []string{"true"}}
}

// unready begins a status that is not ready.
const unready = `{{ $now := Now }}
{{ $root := . }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "False", reason: ContainersNotReady, message: "containers with unready status: [{{ (index .spec.containers 0).name }}]", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "False", reason: ContainersNotReady, message: "containers with unready status: [{{ (index .spec.containers 0).name }}]", lastTransitionTime: {{ $now | Quote }}}
`

const crashed = `containerStatuses:
{{ range $i, $c := .spec.containers }}
{{ $n := 0 }}
{{ with $root.status.containerStatuses }}{{ $n = (index . $i).restartCount }}{{ end }}
- image: {{ $c.image | Quote }}
  name: {{ $c.name | Quote }}
  ready: false
  started: false
  restartCount: {{ add $n 1 }}
  state: {waiting: {reason: CrashLoopBackOff, message: "back-off restarting failed container"}}
  lastState: {terminated: {exitCode: 1, reason: Error, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
`

const runs = `containerStatuses:
{{ range .spec.containers }}
- {image: {{ .image | Quote }}, name: {{ .name | Quote }}, ready: false, started: true, restartCount: 0, state: {running: {startedAt: {{ $now | Quote }}}}}
{{ end }}
`

const unpullable = `containerStatuses:
{{ range .spec.containers }}
- {image: {{ .image | Quote }}, name: {{ .name | Quote }}, ready: false, started: false, restartCount: 0, state: {waiting: {reason: ImagePullBackOff, message: "Back-off pulling image \"{{ .image }}\""}}}
{{ end }}
`

// placed ends a status: the phase, and the addresses where it runs.
func placed(phase string) string {
	text := `{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
{{ end }}
`
	if phase == "Running" {
		text += `{{ with PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" ) ( or .metadata.name "" ) ( or .metadata.namespace "" ) }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
`
	}
	return text + "phase: " + phase + "\nstartTime: {{ $now | Quote }}\n"
}
