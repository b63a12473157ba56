package console

import (
	"encoding/json"
	"fmt"
)

// Answer copies what an operation answered into out, by way of JSON, as it goes over covetd's socket: whoever runs the
// operation in its own process gets the same. Nothing is wanted where out is nil.
func Answer(answer, out any) error {
	if out == nil {
		return nil
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
