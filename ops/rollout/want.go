package rollout

// Target is what the journal says should be there: which releases with how many instances, and how the traffic is split.
// It is a pure function of the state, so whoever takes over wants the same as whoever stopped.
type Target struct {
	Instances map[string]int // by version
	Weights   Weights
	Candidate string // the version that x-canary requests go to; empty when none
	InPlace   string // the version that the platform itself is to put in the place of the other; empty when none
}

// Wanted works out the target from the state.
func Wanted(s State) Target {
	t := Target{Instances: map[string]int{}, Weights: Weights{}}
	if s.Warm != nil {
		t.Instances[s.Warm.Version] = s.Warm.Instances
	}
	if s.Stable != "" {
		t.Instances[s.Stable] = max(s.Instances, t.Instances[s.Stable])
		t.Weights[s.Stable] = 100
	}
	if r := s.Active; r != nil {
		wantActive(s, r, &t)
	}
	if s.Stopped != nil {
		t.Instances = map[string]int{} // the weights stay: they say who has the traffic once it starts
	}
	return t
}

func wantActive(s State, r *Rollout, t *Target) {
	if r.Settle {
		return // only the stable release, until everything else is out of the way
	}
	candidate, stable := wantedInstances(s, r)
	t.Instances[r.To] = candidate
	if r.From != "" {
		t.Instances[r.From] = stable
	}
	if r.Phase != Aborting && !r.Contained {
		t.Candidate = r.To
	}
	t.Weights = split(r)
	if r.InPlace {
		t.inPlace(s, r)
	}
}

// inPlace is what a rollout wants that the platform makes itself: one release only, which the platform replaces the other by.
func (t *Target) inPlace(s State, r *Rollout) {
	t.Candidate, t.InPlace = "", r.To
	leaving := r.From
	if r.Phase == Aborting || r.Contained {
		t.InPlace, leaving = r.From, r.To
		t.Instances[r.From] = s.Instances
	}
	delete(t.Instances, leaving)
}

// wantedInstances is how many of the candidate and of the stable release the rollout wants just now. New ones are wanted
// before the traffic moves, old ones are let go after it has.
func wantedInstances(s State, r *Rollout) (candidate, stable int) {
	step := r.Current()
	candidate, stable = step.Candidate, s.Instances
	if warm := s.Warm; warm != nil && warm.Version == r.To {
		candidate = max(candidate, warm.Instances)
	}
	switch {
	case r.Phase == Aborting || r.Contained:
		return candidate, s.Instances
	case r.Phase == Baking || r.Phase == Waiting:
		return candidate, step.Stable
	case r.Step > 0:
		return candidate, r.Steps[r.Step-1].Stable
	}
	return candidate, stable
}

func split(r *Rollout) Weights {
	if r.From == "" {
		if r.Weight == 0 {
			return Weights{}
		}
		return Weights{r.To: 100}
	}
	w := Weights{r.From: 100 - r.Weight}
	if r.Weight > 0 {
		w[r.To] = r.Weight
	}
	if w[r.From] == 0 {
		delete(w, r.From)
	}
	return w
}

// Desire turns instance counts into what a platform is asked to ensure, with each release's own record.
func Desire(s State, t Target) Desired {
	d := Desired{}
	for version, n := range t.Instances {
		if r, ok := s.Releases[version]; ok && (n > 0 || version == t.InPlace) {
			d[version] = Want{Release: r, Instances: n, InPlace: version == t.InPlace}
		}
	}
	return d
}
