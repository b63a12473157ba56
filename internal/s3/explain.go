package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/covetpy/covet/ops/backup"
)

// told is an error of the SDK in fewer words.
type told struct {
	text string
	error
}

func (t told) Error() string { return t.text }
func (t told) Unwrap() error { return t.error }

// tell says what happened to a request: who didn't answer, or what was answered, and how often it was tried. The SDK's own text is
// about itself first.
func tell(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var text string
	var none *uncredited
	var unsent *smithyhttp.RequestSendError
	var answer *awshttp.ResponseError
	switch {
	case errors.As(err, &none):
		text = none.Error() // its own requests went elsewhere
	case errors.As(err, &unsent):
		text = unanswered(unsent.Err)
	case errors.As(err, &answer):
		text = answered(answer)
	default:
		return err
	}
	var often *retry.MaxAttemptsError
	if errors.As(err, &often) && often.Attempt > 1 {
		text += fmt.Sprintf(", tried %d times", often.Attempt)
	}
	return told{text, err}
}

// unanswered says who didn't answer, and why.
func unanswered(err error) string {
	var at *url.Error
	if !errors.As(err, &at) {
		return "the S3 server did not answer: " + err.Error()
	}
	who := "the S3 server"
	if u, parseErr := url.Parse(at.URL); parseErr == nil {
		who = u.Host
	}
	if isUntrusted(err) {
		return who + " is not trusted: " + at.Err.Error()
	}
	return who + " did not answer: " + at.Err.Error()
}

// answered says what the server answered.
func answered(r *awshttp.ResponseError) string {
	text := fmt.Sprintf("the server answered %d", r.HTTPStatusCode())
	var api smithy.APIError
	if errors.As(r.Err, &api) {
		text += " " + api.ErrorCode()
		if m := strings.TrimSuffix(api.ErrorMessage(), "."); m != "" {
			text += ": " + m
		}
	} else {
		text += " " + http.StatusText(r.HTTPStatusCode()) + ": " + r.Err.Error()
	}
	if r.RequestID != "" {
		text += ", request " + r.RequestID
	}
	return text
}

// explain says what happened and what a person can do about it, and makes a missing object backup.ErrNotFound.
func explain(err error) error {
	if err == nil || errors.Is(err, backup.ErrExists) {
		return err
	}
	if isNotFound(err) {
		return backup.ErrNotFound
	}
	advice := advise(err)
	if err = tell(err); advice != "" {
		return fmt.Errorf("%w (%s)", err, advice)
	}
	return err
}

// advise says what a person can do about an error; empty where that isn't known.
func advise(err error) string {
	var unsent *smithyhttp.RequestSendError
	var none *uncredited
	switch {
	case errors.As(err, &none):
		return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, their _FILE variants, or AWS_PROFILE"
	case code(err) == "NoSuchBucket":
		return "the bucket does not exist: create it, or correct the repository's address"
	case expired(err):
		return "the credentials have expired or are withdrawn, and where they are from there are no others yet: renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the files that they are in; the next run goes on"
	case status(err) == http.StatusForbidden || status(err) == http.StatusUnauthorized:
		return "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, the region and this machine's clock"
	case status(err) == http.StatusMovedPermanently:
		return "the bucket is in another region: set S3_REGION"
	case strings.Contains(err.Error(), "x509:"):
		return "name the authority's PEM file in COVET_S3_CA_FILE"
	case errors.As(err, &unsent) && !errors.Is(err, context.Canceled):
		return "see whether the server is up and reached from this machine, and whether COVET_S3_ENDPOINT is right"
	}
	return ""
}
