package chart

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

var t0 = time.Unix(1_700_000_000, 0)

func every(step time.Duration, values ...float64) []Sample {
	var out []Sample
	for i, v := range values {
		if !math.IsNaN(v) {
			out = append(out, Sample{t0.Add(time.Duration(i) * step), v})
		}
	}
	return out
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	gap := math.NaN()
	for _, c := range []struct {
		name    string
		samples []Sample
		span    time.Duration
		n       int
		want    []float64
	}{
		{"one each", every(time.Second, 1, 2, 3, 4), 4 * time.Second, 4, []float64{1, 2, 3, 4}},
		{"a spike survives", every(time.Second, 1, 90, 1, 2), 4 * time.Second, 2, []float64{90, 2}},
		{"finer than the samples", every(time.Second, 1, 2), 2 * time.Second, 4, []float64{1, 1, 2, 2}},
		{"a gap stays blank", every(time.Second, 1, gap, gap, gap, 5), 5 * time.Second, 5, []float64{1, 1, gap, gap, 5}},
		{"nothing", nil, time.Second, 2, []float64{gap, gap}},
	} {
		got := Buckets(c.samples, t0, t0.Add(c.span), time.Second, c.n)
		for i := range c.want {
			if got[i] != c.want[i] && !(math.IsNaN(got[i]) && math.IsNaN(c.want[i])) {
				t.Errorf("%s: got %v, want %v", c.name, got, c.want)
				break
			}
		}
	}
}

func TestNice(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]float64{0: 1, 0.0041: 0.006, 1: 1, 1.1: 2, 3: 4, 412: 600, 1842: 2000, 9000: 10000} {
		if got := Nice(v); math.Abs(got-want) > want*1e-9 {
			t.Errorf("Nice(%v) = %v, want %v", v, got, want)
		}
	}
}

func TestDrawn(t *testing.T) {
	t.Parallel()
	s := widget.NewSurface(27, 7)
	spec := Spec{
		Lines: []Line{{every(time.Second, 0, 1, 2, 3, 4, math.NaN(), math.NaN(), math.NaN(), 2, 2), theme.Accent}}, From: t0, To: t0.Add(10 * time.Second), Step: time.Second,
		Format: widget.Short,
	}
	Draw(s.All(), spec, theme.ASCII())
	want := `
    4 |        ***
      |      **
    2 |    **          ****
      |  **
    0 |**
      +--------------------
   22:13:20        22:13:30`
	got := "\n" + strings.Join(s.Lines(), "\n")
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func BenchmarkDraw(b *testing.B) {
	var samples []Sample
	for i := range 900 {
		samples = append(samples, Sample{t0.Add(time.Duration(i) * time.Second), float64(i % 97)})
	}
	s := widget.NewSurface(50, 12)
	spec := Spec{Lines: []Line{{samples, theme.Accent}}, From: t0, To: t0.Add(900 * time.Second), Step: time.Second, Format: widget.Short}
	b.ReportAllocs()
	for b.Loop() {
		Draw(s.All(), spec, theme.Unicode())
	}
}
