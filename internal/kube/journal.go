package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/journal"
)

// Journal keeps a service's events in ConfigMaps: the newest in the head, which every append replaces under the precondition
// of its resourceVersion; older ones in sealed segments, which never change again. It implements journal.Journal. Safe for
// concurrent use.
type Journal struct {
	client     *client
	deployment string
	limit      int // bytes of events in the head above which they are sealed

	// watched is where a watch keeps the head, or nil. It spares questions: an append that was made from what is too old loses by
	// its resourceVersion.
	watched *shelf[object]
}

// segmentBytes leaves room below the 1 MiB that the API server takes: an append of the largest release still fits.
const segmentBytes = 256 << 10

// maxAppend bounds the events of one append.
const maxAppend = 512 << 10

func newJournal(c *client, deployment string) *Journal {
	return &Journal{client: c, deployment: deployment, limit: segmentBytes}
}

// headName is the ConfigMap that is watched for news.
func (j *Journal) headName() string { return prefixed(j.deployment, "journal") }

// head is what the head holds.
type head struct {
	object   *unstructured.Unstructured // nil where there is none yet
	last     journal.Seq
	segments []segment
	lines    []byte // one event a line
}

// segment is a sealed part of the journal.
type segment struct {
	Name string      `json:"name"`
	From journal.Seq `json:"from"`
	To   journal.Seq `json:"to"`
}

func (j *Journal) readHead(ctx context.Context) (head, error) {
	var o *unstructured.Unstructured
	err := patiently(ctx, patience, func(ctx context.Context) (err error) {
		o, err = j.client.on(configMaps).Get(ctx, j.headName(), metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return head{}, nil
	}
	if err != nil {
		return head{}, inWords("read the journal "+j.headName(), err)
	}
	if j.watched != nil {
		j.watched.put(o)
	}
	return parseHead(o)
}

// newest is the head as the watch has it, or, where there is none, as the API server has.
func (j *Journal) newest(ctx context.Context) (head, error) {
	if j.watched != nil {
		if o, ok := j.watched.get(j.headName()); ok {
			return parseHead(o)
		}
	}
	return j.readHead(ctx)
}

func parseHead(o *unstructured.Unstructured) (head, error) {
	h := head{object: o}
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return h, fmt.Errorf("the journal %s cannot be read: %w", o.GetName(), err)
	}
	last, err := strconv.ParseUint(data["last"], 10, 64)
	if err != nil {
		return h, fmt.Errorf("the journal %s cannot be read: its last number is %q", o.GetName(), data["last"])
	}
	h.last, h.lines = journal.Seq(last), []byte(data["events"])
	if text := data["segments"]; text != "" {
		if err := json.Unmarshal([]byte(text), &h.segments); err != nil {
			return h, fmt.Errorf("the journal %s cannot be read: its segments: %w", o.GetName(), err)
		}
	}
	return h, nil
}

// known is the head as the watch has it, where that is the one to append to.
func (j *Journal) known(after journal.Seq) (head, bool) {
	if j.watched == nil {
		return head{}, false
	}
	o, ok := j.watched.get(j.headName())
	if !ok {
		return head{}, false
	}
	h, err := parseHead(o)
	return h, err == nil && h.last == after
}

// Append implements journal.Journal. An answer that was lost on its way is found out about: the events are there once, or not.
func (j *Journal) Append(ctx context.Context, after journal.Seq, list ...journal.Event) (journal.Seq, error) {
	lines, last, err := encode(after, list)
	if err != nil {
		return 0, err
	}
	tried := false
	err = patiently(ctx, patience, func(ctx context.Context) (err error) {
		for {
			h, ok := j.known(after)
			if tried || !ok {
				if h, err = j.readHead(ctx); err != nil {
					return err
				}
			}
			if tried && j.holds(h, lines, last) {
				return nil
			}
			if h.last != after {
				return journal.ErrConflict
			}
			tried = true
			err = j.write(ctx, h, lines, last)
			if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
				continue // somebody was faster, or touched something else: look
			}
			return err
		}
	})
	if errors.Is(err, journal.ErrConflict) {
		return 0, err
	}
	if err != nil {
		return 0, inWords("write to the journal "+j.headName(), err)
	}
	return last, nil
}

// holds reports whether the events are the head's newest, or were followed by others.
func (j *Journal) holds(h head, lines []byte, last journal.Seq) bool {
	return h.last >= last && bytes.Contains(append([]byte("\n"), h.lines...), append([]byte("\n"), lines...))
}

func encode(after journal.Seq, list []journal.Event) ([]byte, journal.Seq, error) {
	var b bytes.Buffer
	for _, e := range list {
		after++
		e.Seq = after
		raw, err := json.Marshal(e)
		if err != nil {
			return nil, 0, fmt.Errorf("encode event %d (%s): %w", e.Seq, e.Kind, err)
		}
		b.Write(raw)
		b.WriteByte('\n')
	}
	if b.Len() > maxAppend {
		return nil, 0, fmt.Errorf("the journal takes %d bytes at once, and %s has %d", maxAppend, list[0].Kind, b.Len())
	}
	return b.Bytes(), after, nil
}

// write replaces the head by one with the events added. Where the head is full its events are sealed first.
func (j *Journal) write(ctx context.Context, h head, lines []byte, last journal.Seq) error {
	if len(h.lines)+len(lines) > j.limit && len(h.lines) > 0 {
		s, err := j.seal(ctx, h)
		if err != nil {
			return err
		}
		h.segments = append(slices.Clip(h.segments), s)
		h.lines = nil
	}
	segments, err := json.Marshal(h.segments)
	if err != nil {
		return err
	}
	o := j.object(j.headName(), map[string]any{
		"last": strconv.FormatUint(uint64(last), 10), "segments": string(segments), "events": string(h.lines) + string(lines),
	})
	if h.object == nil {
		o, err = j.client.on(configMaps).Create(ctx, o, metav1.CreateOptions{FieldManager: manager})
	} else {
		o.SetResourceVersion(h.object.GetResourceVersion())
		o, err = j.client.on(configMaps).Update(ctx, o, metav1.UpdateOptions{FieldManager: manager})
	}
	if err == nil && j.watched != nil {
		j.watched.put(o)
	}
	return err
}

// seal keeps the head's events in a ConfigMap that never changes. Whoever seals the same events does the same.
func (j *Journal) seal(ctx context.Context, h head) (segment, error) {
	from := journal.Seq(1)
	if n := len(h.segments); n > 0 {
		from = h.segments[n-1].To + 1
	}
	s := segment{Name: fmt.Sprintf("%s-%d-%d", j.headName(), from, h.last), From: from, To: h.last}
	o := j.object(s.Name, map[string]any{"events": string(h.lines)})
	o.Object["immutable"] = true
	_, err := j.client.on(configMaps).Create(ctx, o, metav1.CreateOptions{FieldManager: manager})
	if apierrors.IsAlreadyExists(err) {
		err = nil
	}
	return s, err
}

func (j *Journal) object(name string, data map[string]any) *unstructured.Unstructured {
	return ownObject("v1", "ConfigMap", name, j.deployment, "journal", map[string]any{"data": data})
}

// ownObject is an object that belongs to Covet.
func ownObject(apiVersion, kind, name, deployment, what string, content map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: content}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetName(name)
	o.SetAnnotations(map[string]string{annDeployment: deployment})
	o.SetLabels(map[string]string{labelService: labelValue(deployment), labelKind: what, "app.kubernetes.io/managed-by": manager})
	return o
}

// labelValue is a name as a label's value may be.
func labelValue(name string) string { return suffixed(name, "") }

// Read implements journal.Journal. What others wrote a moment ago may not be there yet: an append after less is refused, and then
// it is.
func (j *Journal) Read(ctx context.Context, from journal.Seq) iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		h, err := j.newest(ctx)
		if err != nil {
			yield(journal.Event{}, err)
			return
		}
		for _, s := range h.segments {
			if s.To < from {
				continue
			}
			lines, err := j.readSegment(ctx, s)
			if err != nil {
				yield(journal.Event{}, err)
				return
			}
			if !each(lines, from, yield) {
				return
			}
		}
		each(h.lines, from, yield)
	}
}

func (j *Journal) readSegment(ctx context.Context, s segment) ([]byte, error) {
	var o *unstructured.Unstructured
	err := patiently(ctx, patience, func(ctx context.Context) (err error) {
		o, err = j.client.on(configMaps).Get(ctx, s.Name, metav1.GetOptions{})
		return err
	})
	if err != nil {
		return nil, inWords(fmt.Sprintf("read the events %d to %d of the journal", s.From, s.To), err)
	}
	lines, _, err := unstructured.NestedString(o.Object, "data", "events")
	return []byte(lines), err
}

// each yields the events of lines that have a number of from or above. It reports whether more are wanted.
func each(lines []byte, from journal.Seq, yield func(journal.Event, error) bool) bool {
	for line := range bytes.Lines(lines) {
		var e journal.Event
		if err := json.Unmarshal(line, &e); err != nil {
			yield(e, fmt.Errorf("the journal has a line that cannot be read: %w", err))
			return false
		}
		if e.Seq >= from && !yield(e, nil) {
			return false
		}
	}
	return true
}
