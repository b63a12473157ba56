package tui

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// fuzzKeys are what a cat on the keyboard presses.
var fuzzKeys = []string{
	"1", "2", "3", "5", "8", "l", "p", "S", "P", "U", "R", "A", "T", "B", "I", "K", "C", ":", "/", "?", "x", "w", "y", "r", "z", "s", "j", "k", "g", "G",
	"[", "]", "-", "h", "f", "tab", "enter", "esc", "up", "down", "pgdown", "backspace", "a", "店", "\u0301", "production/shop",
}

// act gives the console what one byte stands for, and holds what must always hold.
func (d *desk) act(b byte, arg byte) {
	d.t.Helper()
	switch {
	case b < 40:
		d.m.setSize(int(arg), int(b)*2)
	case b < 50:
		d.now = d.now.Add(time.Duration(arg) * 100 * time.Millisecond)
		d.m.second()
	case b < 60:
		d.send(tea.PasteMsg{Content: "production/shop\x1b[31m\n"})
	default:
		k := fuzzKeys[(int(b)+int(arg))%len(fuzzKeys)]
		_, cmd := d.m.Update(keyOf(k))
		if d.m.at != "logs" { // following a log only ends with the console
			d.do(cmd)
		}
	}
	lines := strings.Split(d.m.View().Content, "\n")
	if len(lines) > max(d.m.h, 1) {
		d.t.Fatalf("%d lines on a screen of %d", len(lines), d.m.h)
	}
	for y, line := range lines {
		if w := ansi.StringWidth(line); w > d.m.w {
			d.t.Fatalf("line %d is %d wide on a screen of %d: %q", y, w, d.m.w, line)
		}
	}
}

func FuzzKeysAndSizes(f *testing.F) {
	f.Add([]byte("\x50\x18\x64\x02\x70\x09"))
	f.Add([]byte{200, 7, 10, 5, 220, 30, 130, 9})
	port := rehearsed()
	f.Fuzz(func(t *testing.T, script []byte) {
		d := sit(t, port, nil)
		d.m.writeUntil = t0.Add(time.Hour)
		for i := 0; i+1 < len(script) && i < 400; i += 2 {
			d.act(script[i], script[i+1])
		}
	})
}

func TestRandomKeysAndSizes(t *testing.T) {
	t.Parallel()
	port := rehearsed()
	r := rand.New(rand.NewPCG(7, 11))
	for range 6 {
		d := sit(t, port, func(o *Options) { o.ASCII = r.IntN(2) == 0 })
		d.m.writeUntil = t0.Add(time.Hour)
		for range 250 {
			d.act(byte(r.IntN(256)), byte(r.IntN(256)))
		}
	}
}
