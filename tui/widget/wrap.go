package widget

import "strings"

// Wrap breaks text between words into lines of at most w columns. A word that is longer is broken.
func Wrap(text string, w int) []string {
	if w <= 0 {
		return nil
	}
	var lines []string
	for _, paragraph := range strings.Split(text, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && Width(word) > w {
				lines, line = append(lines, line), ""
			}
			for Width(word) > w {
				head := Cut(word, w, "")
				if head == "" {
					break
				}
				lines, word = append(lines, head), word[len(head):]
			}
			switch {
			case line == "":
				line = word
			case Width(line)+1+Width(word) <= w:
				line += " " + word
			default:
				lines, line = append(lines, line), word
			}
		}
		lines = append(lines, line)
	}
	return lines
}
