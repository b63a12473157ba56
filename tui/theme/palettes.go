package theme

import (
	"image/color"

	"charm.land/lipgloss/v2"
)

func hex(s string) color.Color { return lipgloss.Color(s) }

func dark() palette {
	return palette{
		chosen: look{bg: hex("#1f3a5f"), bold: true},
		looks: [roles]look{
			Strong: {bold: true}, Muted: {fg: hex("#8b949e")}, Border: {fg: hex("#4a525c")}, Focus: {fg: hex("#58a6ff")},
			Title: {fg: hex("#e6edf3"), bold: true}, Accent: {fg: hex("#58a6ff"), bold: true},
			OK: {fg: hex("#3fb950")}, Warn: {fg: hex("#e3b341")}, Bad: {fg: hex("#ff7b72"), bold: true}, Info: {fg: hex("#79c0ff")},
			Stable: {fg: hex("#58a6ff")}, Candidate: {fg: hex("#d2a8ff")}, Third: {fg: hex("#e3b341")}, Stale: {fg: hex("#6e7681")},
			Prod: {fg: hex("#ffffff"), bg: hex("#da3633"), bold: true}, Env: {fg: hex("#0d1117"), bg: hex("#79c0ff"), bold: true},
			Write: {fg: hex("#0d1117"), bg: hex("#e3b341"), bold: true}, Cursor: {reverse: true},
		},
	}
}

func light() palette {
	return palette{
		chosen: look{bg: hex("#cfe3ff"), bold: true},
		looks: [roles]look{
			Strong: {bold: true}, Muted: {fg: hex("#57606a")}, Border: {fg: hex("#afb8c1")}, Focus: {fg: hex("#0969da")},
			Title: {fg: hex("#1f2328"), bold: true}, Accent: {fg: hex("#0969da"), bold: true},
			OK: {fg: hex("#1a7f37")}, Warn: {fg: hex("#9a6700")}, Bad: {fg: hex("#cf222e"), bold: true}, Info: {fg: hex("#0550ae")},
			Stable: {fg: hex("#0969da")}, Candidate: {fg: hex("#8250df")}, Third: {fg: hex("#9a6700")}, Stale: {fg: hex("#8c959f")},
			Prod: {fg: hex("#ffffff"), bg: hex("#cf222e"), bold: true}, Env: {fg: hex("#ffffff"), bg: hex("#0969da"), bold: true},
			Write: {fg: hex("#ffffff"), bg: hex("#9a6700"), bold: true}, Cursor: {reverse: true},
		},
	}
}

// colourBlind keeps to blue, orange and yellow of Okabe and Ito, which differ for every common kind of colour blindness.
func colourBlind() palette {
	p := dark()
	blue, orange, yellow, sky := hex("#56b4e9"), hex("#ff9a3c"), hex("#f0e442"), hex("#9ad0f5")
	p.looks[OK] = look{fg: blue}
	p.looks[Warn] = look{fg: yellow}
	p.looks[Bad] = look{fg: orange, bold: true}
	p.looks[Info] = look{fg: sky}
	p.looks[Stable] = look{fg: blue}
	p.looks[Candidate] = look{fg: orange}
	p.looks[Third] = look{fg: yellow}
	p.looks[Prod] = look{fg: hex("#000000"), bg: orange, bold: true}
	p.looks[Write] = look{fg: hex("#000000"), bg: yellow, bold: true}
	return p
}

func sixteen() palette {
	const red, green, yellow, blue, magenta, cyan, white, grey = "9", "10", "11", "12", "13", "14", "15", "8"
	return palette{
		chosen: look{reverse: true},
		looks: [roles]look{
			Strong: {bold: true}, Muted: {fg: hex("7")}, Border: {fg: hex(grey)}, Focus: {fg: hex(cyan)}, Title: {bold: true},
			Accent: {fg: hex(cyan), bold: true}, OK: {fg: hex(green)}, Warn: {fg: hex(yellow)}, Bad: {fg: hex(red), bold: true},
			Info: {fg: hex(cyan)}, Stable: {fg: hex(blue)}, Candidate: {fg: hex(magenta)}, Third: {fg: hex(yellow)}, Stale: {fg: hex(grey)},
			Prod: {fg: hex(white), bg: hex("1"), bold: true}, Env: {fg: hex("0"), bg: hex("6"), bold: true},
			Write: {fg: hex("0"), bg: hex("3"), bold: true}, Cursor: {reverse: true},
		},
	}
}

func none() palette {
	return palette{
		chosen: look{reverse: true},
		looks: [roles]look{
			Strong: {bold: true}, Focus: {bold: true}, Title: {bold: true}, Accent: {bold: true}, Bad: {bold: true}, Warn: {bold: true},
			Border: {faint: true}, Stale: {faint: true},
			Prod: {bold: true, reverse: true}, Env: {bold: true}, Write: {bold: true, reverse: true}, Cursor: {reverse: true},
		},
	}
}
