package widget

// List is the cursor and the window of a list of any length; only the rows in the window are ever drawn.
type List struct {
	Cursor int
	Top    int
}

// Fit keeps the cursor within n rows and the window of h rows around it, and returns which rows to draw.
func (l *List) Fit(n, h int) (from, to int) {
	h = max(h, 1)
	l.Cursor = min(max(l.Cursor, 0), max(n-1, 0))
	if l.Cursor < l.Top {
		l.Top = l.Cursor
	}
	if l.Cursor >= l.Top+h {
		l.Top = l.Cursor - h + 1
	}
	l.Top = min(max(l.Top, 0), max(n-h, 0))
	return l.Top, min(l.Top+h, n)
}

// Key moves the cursor for the keys every list knows, in a list of n rows of which h are seen, and reports whether it
// was one of them.
func (l *List) Key(key string, n, h int) bool {
	h = max(h, 1)
	switch key {
	case "j", "down":
		l.Cursor++
	case "k", "up":
		l.Cursor--
	case "g", "home":
		l.Cursor = 0
	case "G", "end":
		l.Cursor = n - 1
	case "pgdown", "ctrl+f":
		l.Cursor += h
	case "pgup", "ctrl+b":
		l.Cursor -= h
	case "ctrl+d":
		l.Cursor += h / 2
	case "ctrl+u":
		l.Cursor -= h / 2
	default:
		return false
	}
	l.Cursor = min(max(l.Cursor, 0), max(n-1, 0))
	return true
}
