package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// AssetsConfig says where files are: those that are served as they are, and those of users in an object store.
type AssetsConfig struct {
	StaticDir string // folder that is served below the path of StaticURL; empty: none is
	StaticURL string // what the addresses of its files begin with: a path, or a whole URL where something else serves them
	CDNURL    string // a content network in front of that path: https://cdn.example

	S3Bucket           string
	S3Region           string
	AWSAccessKeyID     string
	AWSSecretAccessKey Secret
}

// DefaultStaticURL is where static files are served.
const DefaultStaticURL = "/static/"

func defaultAssets() AssetsConfig { return AssetsConfig{StaticURL: DefaultStaticURL} }

func (c *AssetsConfig) settings() []Setting {
	return []Setting{
		{Name: "STATIC_DIR", Help: "folder whose files are served below STATIC_URL; none if unset", Example: "STATIC_DIR=/srv/shop/static", Set: Text(&c.StaticDir)},
		{Name: "STATIC_URL", Help: "what addresses of static files begin with, a path or a whole URL", Example: "STATIC_URL=/static/", Default: c.StaticURL, Set: staticURL(&c.StaticURL)},
		{Name: "CDN_URL", Help: "content network in front of the static files", Example: "CDN_URL=https://cdn.shop.example", Set: webURL(&c.CDNURL)},
		{Name: "S3_BUCKET", Help: "bucket for the application's files", Example: "S3_BUCKET=shop-uploads", Set: bucketName(&c.S3Bucket)},
		{Name: "S3_REGION", Help: "its region, and that of the backups' bucket", Example: "S3_REGION=eu-central-1", Set: word(&c.S3Region)},
		{Name: "AWS_ACCESS_KEY_ID", Help: "who asks for it", Example: "AWS_ACCESS_KEY_ID=AKIA…", Secret: true, Set: word(&c.AWSAccessKeyID)},
		{Name: "AWS_SECRET_ACCESS_KEY", Help: "and the key", Example: "AWS_SECRET_ACCESS_KEY_FILE=/run/secrets/aws_secret_access_key", Secret: true, Set: secretValue(&c.AWSSecretAccessKey)},
	}
}

// conflicts finds what is wrong with the combination of values.
func (c *AssetsConfig) conflicts() []Fault {
	var out []Fault
	add := func(name, problem, example string) {
		out = append(out, Fault{Name: name, Problem: problem, Example: example})
	}
	if c.StaticDir != "" {
		if info, err := os.Stat(c.StaticDir); err != nil {
			add("STATIC_DIR", fmt.Sprintf("%s cannot be used: %s", quoteValue(c.StaticDir), reason(err)), "STATIC_DIR=/srv/shop/static")
		} else if !info.IsDir() {
			add("STATIC_DIR", quoteValue(c.StaticDir)+" is no folder", "STATIC_DIR=/srv/shop/static")
		}
	}
	if c.CDNURL != "" && !strings.HasPrefix(c.StaticURL, "/") {
		add("CDN_URL", "is set and STATIC_URL is a whole URL: one of them says where files are fetched; unset one", "STATIC_URL=/static/")
	}
	if (c.AWSAccessKeyID == "") != (c.AWSSecretAccessKey == "") {
		name, other := "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
		if c.AWSAccessKeyID != "" {
			name, other = other, name
		}
		add(name, "is missing beside "+other, name+"_FILE=/run/secrets/"+strings.ToLower(name))
	}
	return out
}

// staticURL reads a path or a whole URL, and ends it with a slash.
func staticURL(dst *string) func(string) error {
	return func(v string) error {
		if !strings.HasPrefix(v, "/") {
			if err := webURL(&v)(v); err != nil {
				return errors.New("is neither a path such as /static/ nor a URL")
			}
		} else if strings.ContainsAny(v, "?#%\\ ") || strings.Contains(v, "//") || strings.Contains(v, "..") {
			return errors.New("is not a plain path")
		}
		if v == "/" {
			return errors.New("would leave no path to the application")
		}
		*dst = strings.TrimRight(v, "/") + "/"
		return nil
	}
}

// bucketPattern is what Amazon's naming rules for general purpose buckets come to.
var bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func bucketName(dst *string) func(string) error {
	return func(v string) error {
		if !bucketPattern.MatchString(v) || strings.Contains(v, "..") {
			return errors.New("is no bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens")
		}
		*dst = v
		return nil
	}
}

// word reads a text without spaces.
func word(dst *string) func(string) error {
	return func(v string) error {
		if strings.ContainsAny(v, " \t\r\n") {
			return errors.New("has spaces in it")
		}
		*dst = v
		return nil
	}
}
