package action

import (
	"fmt"
	"slices"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// All lists every action in the order in which it is shown.
func All() []Action { return slices.Concat(looks(), changes(), recoveries()) }

func looks() []Action {
	return []Action{
		{ID: "dashboard", Title: "Dashboard", Key: "1", Command: "status", Op: console.GetStatus, page: "dashboard"},
		{ID: "instances", Title: "Instances", Key: "2", Command: "instances", Op: console.GetInstances, page: "instances"},
		{ID: "rollouts", Title: "Rollouts", Key: "3", Command: "rollout status", Op: console.GetRollout, page: "rollouts", args: rolloutArg},
		{ID: "backups", Title: "Backups and recovery", Key: "4", Command: "backup list", Op: console.GetRecovery, page: "backups", enabled: hasRecovery},
		{ID: "restore", Title: "Restore to a point in time", Key: "t", Command: "restore status", page: "restore", enabled: hasRecovery},
		{ID: "incidents", Title: "Incidents and decision", Key: "5", Command: "incident list", Op: console.GetIncidents, page: "incidents"},
		{ID: "audit", Title: "Audit log", Key: "8", Command: "audit", Op: console.GetAudit, page: "audit"},
		{ID: "logs", Title: "Follow the logs", Key: "l", Command: "logs", page: "logs", args: logArgs},
		{ID: "logs.release", Title: "Follow the logs of the whole release", Key: "L", Command: "logs", page: "logs", args: releaseLogArgs, enabled: mayFollowRelease},
		{ID: "logs.previous", Title: "Log of the pod's life before this one", Key: "v", Command: "cluster logs", page: "logs", args: previousArgs, enabled: mayLookBack},
		{ID: "cluster", Title: "Events, nodes and autoscalers", Key: "e", Command: "cluster events", page: "cluster", enabled: onCluster},
		{ID: "target", Title: "Go to another context, namespace or service", Key: "0", Command: "cluster targets", page: "target", enabled: onCluster},
	}
}

func changes() []Action {
	return []Action{
		{ID: "rollout.plan", Title: "Plan a rollout", Key: "p", Command: "rollout plan", Op: console.StartRollout,
			Kind: Plan, enabled: mayStart},
		{ID: "rollout.start", Title: "Start a rollout", Key: "S", Command: "rollout start", Op: console.StartRollout,
			Kind: Change, Destructive: true, enabled: mayStart},
		{ID: "rollout.promote", Title: "Promote to the next step", Key: "P", Command: "rollout promote", Op: console.Promote,
			Kind: Change, enabled: mayPromote},
		{ID: "rollout.pause", Title: "Pause the rollout", Key: "U", Command: "rollout pause", Op: console.PauseRollout,
			Kind: Change, enabled: mayPause},
		{ID: "rollout.resume", Title: "Resume the rollout", Key: "R", Command: "rollout resume", Op: console.ResumeRollout,
			Kind: Change, enabled: mayResume},
		{ID: "rollout.abort", Title: "Abort: back to the old release", Key: "A", Command: "rollout abort", Op: console.AbortRollout,
			Kind: Change, Destructive: true, enabled: mayAbort},
		{ID: "rollout.retry", Title: "Retry the rollout", Key: "T", Command: "rollout retry", Op: console.RetryRollout,
			Kind: Change, Destructive: true, enabled: mayRetry, args: rolloutArg},
		{ID: "rollback", Title: "Roll back to another release", Key: "B", Command: "rollback", Op: console.Rollback,
			Kind: Change, Destructive: true, enabled: mayRollback},
		{ID: "incident.open", Title: "Declare an incident", Key: "I", Command: "incident open", Op: console.OpenIncident, Kind: Change},
		{ID: "incident.ack", Title: "Acknowledge the incident", Key: "K", Command: "incident ack", Op: console.AckIncident,
			Kind: Change, enabled: mayAck, args: incidentArg},
		{ID: "incident.close", Title: "Close the incident", Key: "C", Command: "incident close", Op: console.CloseIncident,
			Kind: Change, enabled: mayClose, args: incidentArg},
	}
}

func rolloutArg(s State) []string {
	if s.Rollout == "" {
		return nil
	}
	return []string{s.Rollout}
}

func incidentArg(s State) []string {
	if s.Incident == "" {
		return nil
	}
	return []string{s.Incident}
}

func releaseLogArgs(s State) []string { return []string{"-f", "--release", s.Release} }

func mayFollowRelease(s State) string {
	if s.Release == "" {
		return "no release is selected"
	}
	return ""
}

func previousArgs(s State) []string { return []string{"--previous", s.Instance} }

func mayLookBack(s State) string {
	if why := onCluster(s); why != "" || s.Instance != "" {
		return why
	}
	return "no pod is selected"
}

// onCluster is why there is no cluster to look at, if so.
func onCluster(s State) string {
	switch {
	case s.Snap == nil || s.Snap.Status == nil:
		return "nothing is known of the service yet"
	case s.Snap.Status.Platform != "kubernetes":
		return "the service does not run on Kubernetes"
	}
	return ""
}

func logArgs(s State) []string {
	switch {
	case s.Instance != "":
		return []string{"-f", "--instance", s.Instance}
	case s.Release != "":
		return []string{"-f", "--release", s.Release}
	}
	return []string{"-f"}
}

func mayStart(s State) string {
	switch {
	case s.Snap.Status.Offline:
		return "covetd is not running, and only it can roll out"
	case s.Snap.Active() != nil:
		return underWay(s.Snap.Active())
	case len(s.Snap.Releases) == 0:
		return "there is no release: covetctl release add adds one"
	}
	for _, r := range s.Snap.Releases {
		if r.Version != s.Snap.Status.Stable {
			return ""
		}
	}
	return "there is no other release: covetctl release add adds one"
}

func underWay(a *rollout.Rollout) string {
	return fmt.Sprintf("rollout %s to %s is under way", a.ID, a.To)
}

// onActive is why nothing can be done to the rollout under way, if so.
func onActive(s State) string {
	a := s.Snap.Active()
	switch {
	case a == nil:
		return "no rollout is under way"
	case a.Phase == rollout.Aborting:
		return "the rollout is going back already"
	}
	return ""
}

func mayPromote(s State) string {
	if why := onActive(s); why != "" {
		return why
	}
	if a := s.Snap.Active(); a.Phase != rollout.Baking && a.Phase != rollout.Waiting {
		return fmt.Sprintf("the rollout is %s: this step's traffic has not moved yet", a.Phase)
	}
	return ""
}

func mayPause(s State) string {
	if why := onActive(s); why != "" {
		return why
	}
	if s.Snap.Active().Paused {
		return "the rollout is paused already"
	}
	return ""
}

func mayResume(s State) string {
	if why := onActive(s); why != "" {
		return why
	}
	if !s.Snap.Active().Paused {
		return "the rollout is not paused"
	}
	return ""
}

func mayAbort(s State) string { return onActive(s) }

func mayRetry(s State) string {
	if a := s.Snap.Active(); a != nil {
		return underWay(a)
	}
	r := s.Snap.Rollout(s.Rollout)
	if r == nil {
		r = s.Snap.Status.Last
	}
	switch {
	case r == nil:
		return "there has been no rollout yet"
	case r.Phase == rollout.Succeeded:
		return fmt.Sprintf("rollout %s succeeded: there is nothing to retry", r.ID)
	}
	return ""
}

func mayRollback(s State) string {
	switch {
	case s.Snap.Active() != nil:
		return onActive(s)
	case s.Snap.Status.Previous == "" && len(s.Snap.Releases) < 2:
		return "there is no earlier release to go back to"
	}
	return ""
}

func mayAck(s State) string {
	i := s.incident()
	switch {
	case i == nil:
		return "no incident is open"
	case !i.AckedAt.IsZero():
		return fmt.Sprintf("incident %s is acknowledged already, by %s", i.ID, i.AckedBy)
	}
	return ""
}

func mayClose(s State) string {
	if s.incident() == nil {
		return "no incident is open"
	}
	return ""
}
