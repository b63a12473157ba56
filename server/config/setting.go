package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Kind says which shapes of the configuration file a setting accepts. In the environment, a .env file and the flags a
// value is always text.
type Kind int

const (
	// Scalar settings are one text, number or switch.
	Scalar Kind = iota
	// List settings are comma-separated; the file may give a sequence.
	List
	// Words settings are a command line, split as a shell would; the file may give a sequence of arguments.
	Words
	// Pairs settings are NAME=value words; the file may give a mapping.
	Pairs
)

// Setting is one value that configuration can give: its name in the environment, how it is read and where it goes.
// Applications declare their own in [Sources.Settings] and get the same precedence, checks and report.
type Setting struct {
	Name    string // as in the environment: LOG_LEVEL; in the file it is log_level, or level under log
	Help    string // one line
	Default string // used when no source gives a value; empty means that Set is not called
	Example string // shown with a fault
	Kind    Kind
	Secret  bool // its value is never shown, and NAME_FILE may name a file that holds it
	// Set takes the value or says what is wrong with it, without repeating the value.
	Set func(value string) error
}

// Text returns a Set function for a plain string.
func Text(dst *string) func(string) error {
	return func(v string) error { *dst = v; return nil }
}

// Number returns a Set function for a whole number between low and high, both included.
func Number(dst *int, low, high int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil {
			return errors.New("is not a whole number")
		}
		if n < low || n > high {
			return fmt.Errorf("is not between %d and %d", low, high)
		}
		*dst = n
		return nil
	}
}

// Ratio returns a Set function for a number between 0 and 1.
func Ratio(dst *float64) func(string) error {
	return func(v string) error {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || f != f || f < 0 || f > 1 {
			return errors.New("is not a number between 0 and 1")
		}
		*dst = f
		return nil
	}
}

// Switch returns a Set function for true or false, and the words people use for them.
func Switch(dst *bool) func(string) error {
	return func(v string) error {
		switch strings.ToLower(v) {
		case "true", "1", "yes", "on":
			*dst = true
		case "false", "0", "no", "off":
			*dst = false
		default:
			return errors.New("is neither true nor false")
		}
		return nil
	}
}

// Duration returns a Set function for a span of time such as 250ms or 1m30s; a bare number is seconds.
func Duration(dst *time.Duration) func(string) error {
	return func(v string) error {
		d, err := time.ParseDuration(v)
		if err != nil {
			n, numErr := strconv.ParseUint(v, 10, 31)
			if numErr != nil {
				return errors.New("is not a duration")
			}
			d = time.Duration(n) * time.Second
		}
		if d < 0 {
			return errors.New("is negative")
		}
		*dst = d
		return nil
	}
}

// positive returns a Set function for a span of time that is not zero.
func positive(dst *time.Duration) func(string) error {
	return func(v string) error {
		if err := Duration(dst)(v); err != nil {
			return err
		}
		if *dst == 0 {
			return errors.New("is zero")
		}
		return nil
	}
}

// Bytes returns a Set function for a size such as 10MiB, 64KB or 1048576.
func Bytes(dst *int64) func(string) error {
	return func(v string) error {
		n, err := parseBytes(v)
		if err != nil {
			return err
		}
		*dst = n
		return nil
	}
}

func parseBytes(v string) (int64, error) {
	units := []struct {
		suffix string
		size   int64
	}{
		{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30},
		{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"b", 1},
	}
	text, size := strings.ToLower(strings.TrimSpace(v)), int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			text, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("is not a size in bytes")
	}
	if n > (1<<62)/size {
		return 0, errors.New("is too large")
	}
	return n * size, nil
}

// OneOf returns a Set function for a word of a closed list.
func OneOf(dst *string, words ...string) func(string) error {
	return func(v string) error {
		for _, w := range words {
			if strings.EqualFold(v, w) {
				*dst = w
				return nil
			}
		}
		return fmt.Errorf("is none of %s", strings.Join(words, ", "))
	}
}

// secretValue returns a Set function for a secret.
func secretValue(dst *Secret) func(string) error {
	return func(v string) error { *dst = Secret(v); return nil }
}

// level reads a log level under its common names.
func level(dst *slog.Level) func(string) error {
	return func(v string) error {
		switch strings.ToLower(v) {
		case "debug":
			*dst = slog.LevelDebug
		case "info":
			*dst = slog.LevelInfo
		case "warn", "warning":
			*dst = slog.LevelWarn
		case "error", "critical":
			*dst = slog.LevelError
		default:
			return errors.New("is none of debug, info, warn, error")
		}
		return nil
	}
}

// address reads host:port for a listener.
func address(dst *string) func(string) error {
	return func(v string) error {
		i := strings.LastIndexByte(v, ':')
		if i < 0 {
			return errors.New("has no port")
		}
		if err := portText(v[i+1:]); err != nil {
			return err
		}
		host := v[:i]
		if strings.HasPrefix(host, "[") != strings.HasSuffix(host, "]") ||
			(strings.Contains(host, ":") && !strings.HasPrefix(host, "[")) {
			return errors.New("has an IPv6 address without brackets")
		}
		*dst = v
		return nil
	}
}

func portText(v string) error {
	if _, err := strconv.ParseUint(v, 10, 16); err != nil {
		return errors.New("has no port between 0 and 65535")
	}
	return nil
}

// port reads a port number and stores the address that listens on it on every interface.
func port(dst *string) func(string) error {
	return func(v string) error {
		if err := portText(v); err != nil {
			return errors.New("is not a port between 0 and 65535")
		}
		*dst = ":" + v
		return nil
	}
}

// prefixes reads a comma-separated list of networks; an address alone is a network of one.
func prefixes(dst *[]netip.Prefix) func(string) error {
	return func(v string) error {
		var out []netip.Prefix
		for part := range strings.SplitSeq(v, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			p, err := netip.ParsePrefix(part)
			if err != nil {
				a, addrErr := netip.ParseAddr(part)
				if addrErr != nil {
					return fmt.Errorf("holds %q, which is neither an address nor a network", part)
				}
				p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
			}
			out = append(out, p.Masked())
		}
		*dst = out
		return nil
	}
}

// upstream reads the address of an HTTP service as a URL, and keeps its host and port.
func upstream(dst *string) func(string) error {
	return func(v string) error {
		u, err := url.Parse(v)
		if err != nil {
			return errors.New("is not a URL")
		}
		switch {
		case u.Scheme != "http":
			return errors.New("does not begin with http:// (covetd speaks plain HTTP to what it stands in front of)")
		case u.Host == "":
			return errors.New("names no host")
		case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil:
			return errors.New("has more than a host and a port")
		}
		*dst = u.Host
		if u.Port() == "" {
			*dst = net.JoinHostPort(u.Hostname(), "80")
		}
		return nil
	}
}

// urlPath reads an absolute path of a URL.
func urlPath(dst *string) func(string) error {
	return func(v string) error {
		if !strings.HasPrefix(v, "/") {
			return errors.New("does not begin with /")
		}
		*dst = v
		return nil
	}
}

// command reads a command line.
func command(dst *[]string) func(string) error {
	return func(v string) error {
		words, err := SplitCommand(v)
		if err != nil {
			return err
		}
		*dst = words
		return nil
	}
}

// pairs reads NAME=value words.
func pairs(dst *map[string]string) func(string) error {
	return func(v string) error {
		words, err := splitWords(v, false)
		if err != nil {
			return err
		}
		out := make(map[string]string, len(words))
		for _, w := range words {
			name, value, ok := strings.Cut(w, "=")
			if !ok || !validEnvName(name) {
				return errors.New("holds something other than NAME=value")
			}
			out[name] = value
		}
		*dst = out
		return nil
	}
}
