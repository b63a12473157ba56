package adminclient

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
)

// EncodeQuery writes a question's arguments as the operations API takes them.
func EncodeQuery(q console.Query) url.Values {
	v := make(url.Values)
	set(v, "id", q.ID)
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Before != 0 {
		v.Set("before", strconv.FormatUint(uint64(q.Before), 10))
	}
	return v
}

// DecodeQuery is the inverse of EncodeQuery, for covetd. Its error is a *console.Error.
func DecodeQuery(v url.Values) (console.Query, error) {
	q := console.Query{ID: v.Get("id")}
	var err error
	if q.Limit, err = count(v, "limit"); err != nil {
		return q, err
	}
	if s := v.Get("before"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return q, misread("before", s, "the number of an event")
		}
		q.Before = journal.Seq(n)
	}
	return q, nil
}

// EncodeLogQuery writes a choice of log lines as the operations API takes it.
func EncodeLogQuery(q console.LogQuery) url.Values {
	v := make(url.Values)
	set(v, "release", q.Release)
	set(v, "instance", q.Instance)
	if q.Lines != 0 {
		v.Set("lines", strconv.Itoa(q.Lines))
	}
	if q.After != 0 {
		v.Set("after", strconv.FormatInt(q.After, 10))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return v
}

// DecodeLogQuery is the inverse of EncodeLogQuery, for covetd. Its error is a *console.Error.
func DecodeLogQuery(v url.Values) (console.LogQuery, error) {
	q := console.LogQuery{Release: v.Get("release"), Instance: v.Get("instance")}
	var err error
	if q.Lines, err = count(v, "lines"); err != nil {
		return q, err
	}
	if s := v.Get("after"); s != "" {
		if q.After, err = strconv.ParseInt(s, 10, 64); err != nil || q.After < 0 {
			return q, misread("after", s, "the number of a line")
		}
	}
	if s := v.Get("follow"); s != "" {
		if q.Follow, err = strconv.ParseBool(s); err != nil {
			return q, misread("follow", s, "true or false")
		}
	}
	return q, nil
}

func set(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}

func count(v url.Values, key string) (int, error) {
	s := v.Get(key)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, misread(key, s, "a number of 0 or more")
	}
	return n, nil
}

func misread(key, value, want string) error {
	return &console.Error{Code: console.CodeUsage, Message: fmt.Sprintf("%s=%.64q: give %s", key, value, want)}
}
