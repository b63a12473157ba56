package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// result is one measurement.
type result struct {
	cpu float64 // microseconds of CPU for each request
	rps float64
	p99 float64 // microseconds
}

// measure loads p for the time set. A failed request fails the measurement: CPU for errors is not what is asked for.
func measure(ctx context.Context, s settings, p *process) (result, error) {
	before, err := p.cpu()
	if err != nil {
		return result{}, err
	}
	seconds := strconv.Itoa(int(s.duration / time.Second))
	args := []string{"-t1", "-c" + strconv.Itoa(s.connections), "-d" + seconds + "s", "--latency"}
	for _, h := range p.headers {
		args = append(args, "-H", h)
	}
	out, err := exec.CommandContext(ctx, s.wrk, append(args, "http://"+p.addr+p.path)...).CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	after, err := p.cpu()
	if err != nil {
		return result{}, err
	}
	return parseWrk(string(out), after-before)
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in`)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s*([\d.]+)`)
	wrkP99      = regexp.MustCompile(`(?m)^\s*99%\s*([\d.]+(?:us|ms|s|m))`)
)

// parseWrk reads wrk's report.
func parseWrk(out string, cpu time.Duration) (r result, err error) {
	if strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
		return r, fmt.Errorf("requests failed: %s", out)
	}
	requests, rate, p99 := wrkRequests.FindStringSubmatch(out), wrkRate.FindStringSubmatch(out), wrkP99.FindStringSubmatch(out)
	if requests == nil || rate == nil || p99 == nil {
		return r, fmt.Errorf("wrk's report is not understood: %s", out)
	}
	n, err1 := strconv.ParseFloat(requests[1], 64)
	rps, err2 := strconv.ParseFloat(rate[1], 64)
	slow, err3 := time.ParseDuration(p99[1])
	if err := errors.Join(err1, err2, err3); err != nil || n == 0 {
		return r, fmt.Errorf("wrk's report is not understood: %w: %s", err, out)
	}
	us := float64(time.Microsecond)
	return result{cpu: float64(cpu) / us / n, rps: rps, p99: float64(slow) / us}, nil
}
