package main

import (
	"strings"
	"testing"
	"time"
)

const report = `Running 2s test @ http://127.0.0.1:1/1024
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.92ms    1.10ms  20.75ms   89.62%
    Req/Sec    17.15k     1.32k   19.59k    70.00%
  Latency Distribution
     50%    1.71ms
     75%    2.27ms
     90%    2.95ms
     99%    6.34ms
  20000 requests in 2.00s, 22.00MB read
Requests/sec:  10000.50
Transfer/sec:     11.00MB
`

func TestParseWrk(t *testing.T) {
	t.Parallel()
	r, err := parseWrk(report, 400*time.Millisecond)
	if err != nil || r.cpu != 20 || r.rps != 10000.5 || r.p99 != 6340 {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, bad := range []string{
		"", strings.Replace(report, "20000", "0", 1),
		report + "  Non-2xx or 3xx responses: 5\n", report + "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
	} {
		if r, err := parseWrk(bad, time.Second); err == nil {
			t.Errorf("%.60q was taken for %+v", bad, r)
		}
	}
}
