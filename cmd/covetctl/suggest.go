package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

func asConsole(err error) (*console.Error, bool) {
	var e *console.Error
	ok := errors.As(err, &e)
	return e, ok
}

// meant adds to the error of a release that is not there the one that was probably meant.
func (a *app) meant(ctx context.Context, port console.Port, version string, err error) error {
	e, ok := asConsole(err)
	if !ok || e.Code != console.CodeNotFound {
		return err
	}
	releases, rerr := ask[[]rollout.Release](ctx, a, port, console.GetReleases, console.Query{})
	if rerr != nil {
		return err // the first error says more than the second
	}
	var known []string
	for _, r := range releases {
		known = append(known, r.Version)
	}
	near, ok := nearest(version, known)
	if !ok {
		return err
	}
	better := *e
	better.Hint = fmt.Sprintf("did you mean %s? covetctl release list shows them all", near)
	return &better
}

// nearest is the candidate that takes the fewest keystrokes to become word, if it takes few enough.
func nearest(word string, candidates []string) (string, bool) {
	best, least := "", len(word)/3+2
	for _, c := range candidates {
		d := distance(strings.ToLower(word), strings.ToLower(c))
		if strings.TrimPrefix(c, "v") == word {
			d = 0
		}
		if d < least {
			best, least = c, d
		}
	}
	return best, best != ""
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
