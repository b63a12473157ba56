package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// KeptLogs yields the lines that match, oldest first, from the files that a Supervisor with this StateDir left behind: its
// last words, for when it does not run. Of each release about 1 MB is looked at.
func KeptLogs(ctx context.Context, stateDir string, f LogFilter) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		lines, err := keptLines(ctx, filepath.Join(stateDir, logFolder), f)
		if err != nil {
			yield(LogLine{}, err)
			return
		}
		for _, line := range lines {
			if !yield(line, nil) {
				return
			}
		}
	}
}

func keptLines(ctx context.Context, dir string, f LogFilter) ([]LogLine, error) {
	releases, err := keptReleases(dir, f.Release)
	if err != nil {
		return nil, err
	}
	var out []LogLine
	for _, release := range releases {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		lines, err := newLogFile(dir, release, fileLimits{}).tail(ringBytes)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("release %q: %w", release, ErrNoLog)
		}
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			if line.Seq > f.After && f.match(line) {
				out = append(out, line)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b LogLine) int { return cmp.Compare(a.Seq, b.Seq) })
	if f.Tail > 0 && len(out) > f.Tail {
		out = out[len(out)-f.Tail:]
	}
	return out, nil
}

// keptReleases are those with a log, or the one that is asked for.
func keptReleases(dir, wanted string) ([]string, error) {
	if wanted != "" {
		return []string{filepath.Base(wanted)}, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for logs: %w", err)
	}
	var out []string
	for _, e := range entries {
		if release, ok := strings.CutSuffix(e.Name(), logSuffix); ok {
			out = append(out, release)
		}
	}
	return out, nil
}
