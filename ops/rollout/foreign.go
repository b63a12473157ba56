package rollout

import "errors"

// ErrHeld is what a Router answers while a weight must wait: the release that is to get it has not the instances for it. The
// engine still ensures the instances, and asks again.
var ErrHeld = errors.New("the traffic waits for ready instances")

// ForeignError says that somebody else has changed what a rollout had changed. It is answered instead of changing it again.
type ForeignError struct {
	Object string // Deployment shop
	What   string // what of it, for people
	Who    string // the field manager that did it
}

// Error implements error.
func (e *ForeignError) Error() string {
	return e.Who + " has changed " + e.What + " of " + e.Object + " under this rollout: Covet does not fight it. " +
		"Suspend it there, then covetctl rollout resume overrules it once, covetctl rollout abort goes back"
}
