package recovery

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cadence says when something is due: a crontab's five fields (minute, hour, day of the month, month, day of the week), in
// UTC. The zero value is never due.
type Cadence struct {
	text   string
	fields [5]uint64 // bit n: the value n is in
}

var cadenceFields = [5]struct {
	name      string
	low, high int
}{{"minute", 0, 59}, {"hour", 0, 23}, {"day of the month", 1, 31}, {"month", 1, 12}, {"day of the week", 0, 7}}

var cadenceWords = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 2 * * *", "@weekly": "0 3 * * 0", "@monthly": "0 4 1 * *",
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseCadence reads five fields, one of @hourly, @daily (02:00), @weekly (Sunday 03:00) and @monthly (the first, 04:00),
// or off.
func ParseCadence(s string) (Cadence, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "off" || s == "" {
		return Cadence{}, nil
	}
	c := Cadence{text: s}
	if w, ok := cadenceWords[s]; ok {
		c.text = w
	}
	parts := strings.Fields(c.text)
	if len(parts) != 5 {
		return Cadence{}, fmt.Errorf("%q: write five fields, such as \"0 2 * * *\" for every day at 02:00 UTC, or @hourly, @daily, @weekly, @monthly, off", s)
	}
	c.text = strings.Join(parts, " ")
	for i, p := range parts {
		set, err := parseField(i, p)
		if err != nil {
			return Cadence{}, fmt.Errorf("%q: %s: %w", s, cadenceFields[i].name, err)
		}
		c.fields[i] = set
	}
	if parts[2] != "*" && parts[4] != "*" {
		return Cadence{}, fmt.Errorf("%q: give the day of the month or the day of the week, not both: schedulers differ on what both mean", s)
	}
	if c.Next(time.Unix(0, 0)).IsZero() {
		return Cadence{}, fmt.Errorf("%q: there is no such day", s)
	}
	return c, nil
}

func parseField(i int, text string) (set uint64, err error) {
	f := cadenceFields[i]
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		low, high, step := f.low, f.high, 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > f.high {
				return 0, fmt.Errorf("%q is no step", stepText)
			}
		}
		if span != "*" {
			a, b, ranged := strings.Cut(span, "-")
			if low, err = fieldValue(i, a); err != nil {
				return 0, err
			}
			if !ranged && !stepped {
				high = low
			}
			if ranged {
				if high, err = fieldValue(i, b); err != nil {
					return 0, err
				}
			}
		}
		if low > high {
			return 0, fmt.Errorf("%q goes backwards", span)
		}
		for v := low; v <= high; v += step {
			if i == 4 {
				set |= 1 << (v % 7) // 7 is Sunday too
			} else {
				set |= 1 << v
			}
		}
	}
	return set, nil
}

func fieldValue(i int, text string) (int, error) {
	if i == 4 {
		if n := slices.Index(dayNames, text); n >= 0 {
			return n, nil
		}
	}
	f := cadenceFields[i]
	n, err := strconv.Atoi(text)
	if err != nil || n < f.low || n > f.high {
		return 0, fmt.Errorf("%q is not between %d and %d", text, f.low, f.high)
	}
	return n, nil
}

// Off says that it is never due.
func (c Cadence) Off() bool { return c.text == "" }

// String is the five fields, or off.
func (c Cadence) String() string {
	if c.Off() {
		return "off"
	}
	return c.text
}

func (c Cadence) has(i, v int) bool { return c.fields[i]&(1<<v) != 0 }

func (c Cadence) onDay(t time.Time) bool {
	return c.has(3, int(t.Month())) && c.has(2, t.Day()) && c.has(4, int(t.Weekday()))
}

// horizon is how far ahead a due time is looked for: 29 February comes after eight years at the most.
const horizon = 9 * 366

// Next is the first due time after t; zero where there is none.
func (c Cadence) Next(t time.Time) time.Time {
	if c.Off() {
		return time.Time{}
	}
	t = t.UTC().Truncate(time.Minute).Add(time.Minute)
	for range horizon {
		if c.onDay(t) {
			if at, ok := c.firstOn(t); ok {
				return at
			}
		}
		t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
	}
	return time.Time{}
}

// firstOn is the first due minute of a day that isn't before t.
func (c Cadence) firstOn(t time.Time) (time.Time, bool) {
	minute := t.Minute()
	for hour := t.Hour(); hour < 24; hour++ {
		if c.has(1, hour) {
			if rest := c.fields[0] >> minute; rest != 0 {
				m := minute + bits.TrailingZeros64(rest)
				return time.Date(t.Year(), t.Month(), t.Day(), hour, m, 0, 0, time.UTC), true
			}
		}
		minute = 0
	}
	return time.Time{}, false
}

// Last is the newest due time that isn't after t; zero where there is none in the past year.
func (c Cadence) Last(t time.Time) time.Time {
	for _, back := range []time.Duration{time.Hour, 25 * time.Hour, 8 * 24 * time.Hour, 32 * 24 * time.Hour, 367 * 24 * time.Hour} {
		var last time.Time
		for at := c.Next(t.Add(-back)); !at.IsZero() && !at.After(t); at = c.Next(at) {
			last = at
		}
		if !last.IsZero() {
			return last
		}
	}
	return time.Time{}
}

// Calendar is the same for systemd's OnCalendar.
func (c Cadence) Calendar() string {
	days := ""
	if c.fields[4] != 1<<7-1 {
		var names []string
		for _, v := range members(c.fields[4]) {
			names = append(names, strings.ToUpper(dayNames[v][:1])+dayNames[v][1:])
		}
		days = strings.Join(names, ",") + " "
	}
	part := func(i int) string {
		f := cadenceFields[i]
		all := members(c.fields[i])
		if len(all) == f.high-f.low+1 {
			return "*"
		}
		texts := make([]string, len(all))
		for k, v := range all {
			texts[k] = fmt.Sprintf("%02d", v)
		}
		return strings.Join(texts, ",")
	}
	return fmt.Sprintf("%s*-%s-%s %s:%s:00 UTC", days, part(3), part(2), part(1), part(0))
}

func members(set uint64) []int {
	var out []int
	for ; set != 0; set &= set - 1 {
		out = append(out, bits.TrailingZeros64(set))
	}
	return out
}
