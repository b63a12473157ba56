package kube

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/covetpy/covet/ops/console"
)

// logPods bounds the pods whose logs are read at once.
const logPods = 100

// Logs implements console.Port.
func (p *Port) Logs(ctx context.Context, q console.LogQuery) iter.Seq2[console.LogLine, error] {
	return p.lines(ctx, console.PodLogQuery{Pod: q.Instance, Release: q.Release, Lines: q.Lines, Follow: q.Follow}, q.After)
}

// PodLogs implements console.Cluster.
func (p *Port) PodLogs(ctx context.Context, q console.PodLogQuery) iter.Seq2[console.LogLine, error] {
	return p.lines(ctx, q, 0)
}

// lines reads the logs of every pod that is meant at once. Following, it takes up pods that appear, and goes on with those
// whose stream broke off.
func (p *Port) lines(ctx context.Context, q console.PodLogQuery, after int64) iter.Seq2[console.LogLine, error] {
	return func(yield func(console.LogLine, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		r := &logReader{port: p, query: q, after: after, out: make(chan logItem, 256), begun: map[string]bool{}}
		defer r.running.Wait()
		defer stop()
		if !q.Follow {
			r.finite(ctx, yield)
			return
		}
		r.running.Go(func() { r.gather(ctx) })
		for {
			select {
			case <-ctx.Done():
				return
			case item := <-r.out:
				if !yield(item.line, item.err) || item.err != nil {
					return
				}
			}
		}
	}
}

type logItem struct {
	line console.LogLine
	err  error
}

type logReader struct {
	port    *Port
	query   console.PodLogQuery
	after   int64
	out     chan logItem
	running sync.WaitGroup
	begun   map[string]bool
}

// meant are the pods that the query is about.
func (r *logReader) meant() []*pod {
	if r.query.Pod != "" {
		if p, ok := r.port.stage.pods.get(r.query.Pod); ok {
			return []*pod{p}
		}
		return nil
	}
	var out []*pod
	version := r.port.sight.versions()
	for _, p := range r.port.stage.pods.all() {
		if r.query.Release == "" || version(p) == r.query.Release {
			out = append(out, p)
		}
	}
	return out
}

// finite yields what there is, in the order of time over all pods, the newest lines only.
func (r *logReader) finite(ctx context.Context, yield func(console.LogLine, error) bool) {
	pods := r.meant()
	if r.query.Pod != "" && len(pods) == 0 {
		yield(console.LogLine{}, &console.Error{Code: console.CodeNotFound, Message: "there is no pod " + r.query.Pod, Hint: "covetctl instances lists them"})
		return
	}
	var mu sync.Mutex
	var all []console.LogLine
	var failed error
	slots := make(chan struct{}, 8)
	var group sync.WaitGroup
	for _, pod := range pods[:min(len(pods), logPods)] {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			lines, err := r.past(ctx, pod)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, lines...)
			if err != nil && failed == nil {
				failed = err
			}
		})
	}
	group.Wait()
	if failed != nil && len(all) == 0 {
		yield(console.LogLine{}, inWords("read the logs", failed))
		return
	}
	slices.SortStableFunc(all, func(a, b console.LogLine) int { return a.At.Compare(b.At) })
	if n := r.query.Lines; n > 0 && len(all) > n {
		all = all[len(all)-n:]
	}
	for _, l := range all {
		if !yield(l, nil) {
			return
		}
	}
}

func (r *logReader) past(ctx context.Context, pod *pod) ([]console.LogLine, error) {
	var out []console.LogLine
	err := r.stream(ctx, pod, false, time.Time{}, func(l console.LogLine) bool {
		out = append(out, l)
		return true
	})
	if apierrors.IsBadRequest(err) || apierrors.IsNotFound(err) {
		return out, nil // its container has not begun, or it is gone
	}
	return out, err
}

// gather follows every pod that is meant, now and later.
func (r *logReader) gather(ctx context.Context) {
	for {
		changed := r.port.stage.bell.changed()
		for _, pod := range r.meant() {
			if uid := pod.uid; !r.begun[uid] && len(r.begun) < logPods && begunAt(pod, r.container(pod)) {
				r.begun[uid] = true
				r.running.Go(func() { r.follow(ctx, pod) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// begunAt reports whether a container has ever run.
func begunAt(p *pod, container string) bool {
	return slices.ContainsFunc(p.lives, func(l life) bool { return l.name == container && l.begun })
}

func (r *logReader) container(p *pod) string { return cmp.Or(r.query.Container, p.speaker) }

// follow reads one pod's log until the pod is gone, taking up what breaks off.
func (r *logReader) follow(ctx context.Context, pod *pod) {
	var last time.Time
	for ctx.Err() == nil {
		err := r.stream(ctx, pod, true, last, func(l console.LogLine) bool {
			if !last.IsZero() && !l.At.After(last) {
				return true // sinceTime counts in seconds
			}
			last = l.At
			select {
			case r.out <- logItem{line: l}:
				return true
			case <-ctx.Done():
				return false
			}
		})
		if apierrors.IsForbidden(err) {
			select {
			case r.out <- logItem{err: inWords("read the logs", err)}:
			case <-ctx.Done():
			}
			return
		}
		if _, there := r.port.stage.pods.get(pod.name); !there {
			return
		}
		pause(ctx, nil, time.Second)
	}
}

// stream reads one pod's log.
func (r *logReader) stream(ctx context.Context, pod *pod, follow bool, since time.Time, give func(console.LogLine) bool) error {
	c := r.port.client
	container := r.container(pod)
	req := c.typed.Get().AbsPath(append(c.path(pods), pod.name, "log")...).
		Param("container", container).Param("timestamps", "true").Param("follow", fmt.Sprint(follow)).Param("previous", fmt.Sprint(r.query.Previous))
	switch {
	case !since.IsZero():
		req = req.Param("sinceTime", since.UTC().Format(time.RFC3339Nano))
	case r.after > 0:
		req = req.Param("sinceTime", time.Unix(0, r.after).UTC().Format(time.RFC3339Nano))
	case r.query.Lines > 0:
		req = req.Param("tailLines", fmt.Sprint(r.query.Lines))
	}
	body, err := req.Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // it was read as far as it matters
	version := r.port.sight.versionOfPod(pod)
	in := bufio.NewReaderSize(body, 64<<10)
	for {
		text, err := in.ReadString('\n')
		if text != "" {
			l := parseLine(strings.TrimRight(text, "\r\n"))
			if strings.HasPrefix(l.Text, nodeLostIt) {
				l.Text = "the node does not keep this log any more: " + l.Text
			}
			l.Release, l.Instance, l.Stream = version, pod.name, "stdout"
			if l.Seq > r.after && !give(l) {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// nodeLostIt begins what a kubelet writes in place of a log that it has thrown away, as if the program had written it.
const nodeLostIt = "unable to retrieve container logs for "

// parseLine parts a line from the time that the kubelet wrote before it. Its number is that time.
func parseLine(text string) console.LogLine {
	stamp, rest, ok := strings.Cut(text, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if !ok && err != nil || err != nil {
		return console.LogLine{At: now(), Seq: now().UnixNano(), Text: text}
	}
	return console.LogLine{At: at, Seq: at.UnixNano(), Text: rest}
}
