package main

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/covetpy/covet/server/config"
)

const (
	exportChunk = 64 << 10
	maxExportMB = 1024
)

// export streams mb megabytes (2^20 bytes) of order lines, at rate bytes a second where that is given: a long download to
// watch through a rollout. Its length is announced, so that a client knows a broken one.
func export(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	mb, rate := 1, int64(0)
	if v := q.Get("mb"); v != "" {
		if err := config.Number(&mb, 1, maxExportMB)(v); err != nil {
			writeError(w, http.StatusBadRequest, "mb "+err.Error())
			return
		}
	}
	if v := q.Get("rate"); v != "" {
		if err := config.Bytes(&rate)(v); err != nil {
			writeError(w, http.StatusBadRequest, "rate "+err.Error())
			return
		}
	}
	size := mb << 20
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="orders.csv"`)
	w.Header().Set("Content-Length", strconv.Itoa(size))
	row := []byte("2026-01-01,oolong,1,1290,shipped\n")
	chunk := bytes.Repeat(row, exportChunk/len(row)+1)[:exportChunk]
	out := http.NewResponseController(w)
	begun := time.Now()
	for sent := 0; sent < size; sent += len(chunk) {
		if rate > 0 {
			due := begun.Add(time.Duration(float64(sent) / float64(rate) * float64(time.Second)))
			if wait(r.Context(), time.Until(due)) != nil {
				return
			}
		}
		if _, err := w.Write(chunk); err != nil {
			return // the client has gone
		}
		if rate > 0 && out.Flush() != nil {
			return
		}
	}
}
