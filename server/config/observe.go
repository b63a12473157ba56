package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/covetpy/covet/server/sentry"
)

// ObserveConfig says who is told what the service does: Sentry of its errors, an OpenTelemetry collector of its requests.
type ObserveConfig struct {
	SentryDSN        Secret  // empty: Sentry is told nothing
	SentryTracesRate float64 // the share of requests whose timing Sentry is told; in a Config made by hand 0 is the default and -1 is none

	TracesEndpoint string            // URL that spans are posted to as OTLP; empty: no traces
	TracesHeaders  map[string]Secret // sent along, for the collector's own authentication
	TracesName     string            // the service's name there; empty: SERVICE
	TracesSampler  string            // one of traceSamplers
	TracesRatio    float64           // for the samplers by ratio
	TracesOff      bool
	tracesExporter string // otlp or none
	tracesBase     string // OTEL_EXPORTER_OTLP_ENDPOINT, to which v1/traces is added
	tracesProtocol string
}

// traceSamplers are the samplers of the OpenTelemetry specification.
var traceSamplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

func defaultObserve() ObserveConfig {
	return ObserveConfig{SentryTracesRate: 0.1, TracesSampler: "parentbased_always_on", TracesRatio: 1, tracesExporter: "otlp", tracesProtocol: "http/protobuf"}
}

// fill gives a configuration made by hand the defaults for what it leaves empty.
func (c *ObserveConfig) fill() {
	def := defaultObserve()
	orText(&c.TracesSampler, def.TracesSampler)
	if c.SentryTracesRate == 0 {
		c.SentryTracesRate = def.SentryTracesRate
	}
	if c.TracesRatio == 0 {
		c.TracesRatio = def.TracesRatio
	}
}

func (c *ObserveConfig) settings() []Setting {
	return []Setting{
		{Name: "SENTRY_DSN", Help: "Sentry that is told of panics and errors; none if unset", Example: "SENTRY_DSN=https://key@o1.ingest.sentry.io/42", Secret: true, Set: sentryDSN(&c.SentryDSN)},
		{Name: "SENTRY_TRACES_SAMPLE_RATE", Help: "share of requests whose timing Sentry is told", Example: "SENTRY_TRACES_SAMPLE_RATE=0.1", Default: fmt.Sprint(c.SentryTracesRate), Set: Ratio(&c.SentryTracesRate)},
		{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Help: "OpenTelemetry collector (OTLP over HTTP) that gets traces; none if unset", Example: "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318", Set: webURL(&c.tracesBase)},
		{Name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Help: "the whole URL for traces, instead", Example: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:4318/v1/traces", Set: webURL(&c.TracesEndpoint)},
		{Name: "OTEL_EXPORTER_OTLP_HEADERS", Help: "headers for the collector, name=value,…", Example: "OTEL_EXPORTER_OTLP_HEADERS=api-key=secret", Kind: List, Secret: true, Set: headerList(&c.TracesHeaders)},
		{Name: "OTEL_EXPORTER_OTLP_PROTOCOL", Help: "http/protobuf, which is the one there is", Example: "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", Default: c.tracesProtocol, Set: OneOf(&c.tracesProtocol, "http/protobuf")},
		{Name: "OTEL_TRACES_EXPORTER", Help: "otlp or none", Example: "OTEL_TRACES_EXPORTER=otlp", Default: c.tracesExporter, Set: OneOf(&c.tracesExporter, "otlp", "none")},
		{Name: "OTEL_TRACES_SAMPLER", Help: strings.Join(traceSamplers, ", "), Example: "OTEL_TRACES_SAMPLER=parentbased_traceidratio", Default: c.TracesSampler, Set: OneOf(&c.TracesSampler, traceSamplers...)},
		{Name: "OTEL_TRACES_SAMPLER_ARG", Help: "share of traces taken by the samplers by ratio", Example: "OTEL_TRACES_SAMPLER_ARG=0.1", Default: fmt.Sprint(c.TracesRatio), Set: Ratio(&c.TracesRatio)},
		{Name: "OTEL_SERVICE_NAME", Help: "the service's name in traces; SERVICE if unset", Example: "OTEL_SERVICE_NAME=shop", Set: Text(&c.TracesName)},
		{Name: "OTEL_SDK_DISABLED", Help: "no traces, whatever else is set", Example: "OTEL_SDK_DISABLED=true", Default: "false", Set: Switch(&c.TracesOff)},
	}
}

// derive settles where traces go.
func (c *ObserveConfig) derive() {
	if c.TracesEndpoint == "" && c.tracesBase != "" {
		c.TracesEndpoint = strings.TrimRight(c.tracesBase, "/") + "/v1/traces"
	}
	if c.tracesExporter == "none" || c.TracesOff {
		c.TracesEndpoint = ""
	}
}

// sentryDSN reads the address of a Sentry project.
func sentryDSN(dst *Secret) func(string) error {
	return func(v string) error {
		*dst = Secret(v)
		return sentry.CheckDSN(v)
	}
}

// webURL reads an address by http or https.
func webURL(dst *string) func(string) error {
	return func(v string) error {
		u, err := url.Parse(v)
		switch {
		case err != nil:
			return errors.New("is not a URL")
		case u.Scheme != "http" && u.Scheme != "https":
			return errors.New("does not begin with http:// or https://")
		case u.Hostname() == "":
			return errors.New("names no host")
		case u.RawQuery != "" || u.Fragment != "":
			return errors.New("has a query or a fragment")
		case u.User != nil:
			return errors.New("holds a password, which would be shown")
		}
		*dst = v
		return nil
	}
}

// headerList reads name=value pairs, separated by commas, each value escaped as in a URL (W3C Baggage).
func headerList(dst *map[string]Secret) func(string) error {
	return func(v string) error {
		out := map[string]Secret{}
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			name, value, ok := strings.Cut(part, "=")
			plain, err := url.PathUnescape(strings.TrimSpace(value))
			if name = strings.TrimSpace(name); !ok || name == "" || err != nil {
				return errors.New("holds something other than name=value")
			}
			out[name] = Secret(plain)
		}
		*dst = out
		return nil
	}
}
