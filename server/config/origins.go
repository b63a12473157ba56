package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// origins reads a comma-separated list of origins and writes each as a browser does.
func origins(dst *[]string) func(string) error {
	return func(v string) error {
		var out []string
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			o, err := originOf(part)
			if err != nil {
				return err
			}
			out = append(out, o)
		}
		*dst = out
		return nil
	}
}

func originOf(text string) (string, error) {
	if text == "null" || strings.Contains(text, "*") {
		return "", fmt.Errorf("holds %q, which stands for anybody: name each origin", text)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("holds %q, which is no origin (scheme://host[:port])", text)
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", errors.New("holds an address with more than scheme, host and port")
	}
	host := strings.ToLower(u.Host)
	if h, port, err := net.SplitHostPort(host); err == nil && (u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80") {
		host = h
		if strings.Contains(h, ":") {
			host = "[" + h + "]"
		}
	}
	return u.Scheme + "://" + host, nil
}
