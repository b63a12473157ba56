package theme

// Glyphs are the signs the console draws with. The ASCII set is for terminals whose font has no others, and for CJK
// terminals that draw box and block characters two columns wide.
type Glyphs struct {
	OK, Bad, Warn, Wait, Pause, Unknown, Dot, Down, Up string
	Arrow, Select, Crumb, Times, Ellipsis              string
	Full, Empty                                        string
	Horizontal, Vertical                               string
	TopLeft, TopRight, BottomLeft, BottomRight         string
	AxisTick, AxisCorner, Limit                        string
	Levels                                             []string // of a sparkline, lowest first
	Braille                                            bool     // charts may use braille dots
}

// Unicode is the ordinary set.
func Unicode() Glyphs {
	return Glyphs{
		OK: "✓", Bad: "✗", Warn: "!", Wait: "…", Pause: "‖", Unknown: "?", Dot: "·", Down: "↓", Up: "▲",
		Arrow: "→", Select: "▶", Crumb: "›", Times: "×", Ellipsis: "…",
		Full: "█", Empty: "░", Horizontal: "─", Vertical: "│",
		TopLeft: "┌", TopRight: "┐", BottomLeft: "└", BottomRight: "┘",
		AxisTick: "┤", AxisCorner: "└", Limit: "╌",
		Levels:  []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
		Braille: true,
	}
}

// ASCII is the set for terminals that can do no better.
func ASCII() Glyphs {
	return Glyphs{
		OK: "+", Bad: "x", Warn: "!", Wait: "~", Pause: "=", Unknown: "?", Dot: "-", Down: "v", Up: "^",
		Arrow: "->", Select: ">", Crumb: ">", Times: "x", Ellipsis: "~",
		Full: "#", Empty: ".", Horizontal: "-", Vertical: "|",
		TopLeft: "+", TopRight: "+", BottomLeft: "+", BottomRight: "+",
		AxisTick: "|", AxisCorner: "+", Limit: "-",
		Levels: []string{"_", ".", ":", "-", "=", "+", "*", "#"},
	}
}
