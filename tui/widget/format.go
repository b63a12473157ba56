package widget

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Short writes a number in at most five columns: 0.42, 12.3, 184, 1.84k, 12.3M.
func Short(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	neg := ""
	if v < 0 {
		neg, v = "-", -v
	}
	for _, unit := range []string{"", "k", "M", "G", "T"} {
		if v < 999.5 || unit == "T" {
			return neg + digits(v) + unit
		}
		v /= 1000
	}
	return ""
}

// digits keeps three figures that say something.
func digits(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 9.995:
		return trim(strconv.FormatFloat(v, 'f', 2, 64))
	case v < 99.95:
		return trim(strconv.FormatFloat(v, 'f', 1, 64))
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

func trim(s string) string {
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// Millis writes a length of time given in milliseconds: 0.8ms, 21ms, 1.2s.
func Millis(v float64) string {
	switch {
	case v <= 0:
		return "-"
	case v < 9.95:
		return strconv.FormatFloat(v, 'f', 1, 64) + "ms"
	case v < 999.5:
		return strconv.FormatFloat(v, 'f', 0, 64) + "ms"
	case v < 99950:
		return strconv.FormatFloat(v/1000, 'f', 1, 64) + "s"
	}
	return strconv.FormatFloat(v/1000, 'f', 0, 64) + "s"
}

// Percent writes a share of 0 to 1 with as many places as it needs: 0%, 0.42%, 12.5%, 100%.
func Percent(v float64) string {
	p := v * 100
	switch {
	case p <= 0:
		return "0%"
	case p < 0.01:
		return "<0.01%"
	case p < 9.995:
		return strconv.FormatFloat(p, 'f', 2, 64) + "%"
	case p < 99.95:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + "%"
}

// Bytes writes a size in binary units: 512B, 48Mi, 1.2Gi.
func Bytes(n int64) string {
	v := float64(n)
	for _, unit := range []string{"B", "Ki", "Mi", "Gi", "Ti"} {
		if v < 1000 || unit == "Ti" {
			if v < 9.95 && unit != "B" {
				return strconv.FormatFloat(v, 'f', 1, 64) + unit
			}
			return strconv.FormatFloat(v, 'f', 0, 64) + unit
		}
		v /= 1024
	}
	return ""
}

// Age writes how long something has lasted, in two units at most: 0s, 41s, 6m, 2h4m, 3d.
func Age(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 10*time.Minute:
		return twoUnits(int(d.Minutes()), "m", int(d.Seconds())%60, "s")
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return twoUnits(int(d.Hours()), "h", int(d.Minutes())%60, "m")
	}
	return twoUnits(int(d.Hours()/24), "d", int(d.Hours())%24, "h")
}

func twoUnits(a int, ua string, b int, ub string) string {
	if b == 0 {
		return fmt.Sprintf("%d%s", a, ua)
	}
	return fmt.Sprintf("%d%s%d%s", a, ua, b, ub)
}

// Clock writes what is left of a countdown as 14:58.
func Clock(d time.Duration) string {
	s := int(max(d, 0).Round(time.Second).Seconds())
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// Plural writes a count with its noun: "1 release", "3 releases".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
