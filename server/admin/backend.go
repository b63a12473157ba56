package admin

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
)

// Backend answers what the operations API is asked. Its errors are told to the caller as they marshal where they are
// Coded, and as covetd's own fault where not. Answers and items are written as they marshal.
//
// Watch and Logs must end soon after ctx does, and never wait for a caller that reads slowly beyond a bounded queue of
// their own: such a caller is cut off when its write deadline has passed.
type Backend interface {
	Ask(ctx context.Context, who Identity, op string, q url.Values) (any, error)
	Do(ctx context.Context, who Identity, op string, body json.RawMessage) (any, error)
	Watch(ctx context.Context, who Identity, after uint64) iter.Seq2[any, error]
	Logs(ctx context.Context, who Identity, q url.Values) iter.Seq2[any, error]
}

// Coded is an error that knows the HTTP status it is told with. It marshals to {"code","message","hint"}.
type Coded interface {
	error
	HTTPStatus() int
}
