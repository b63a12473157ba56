package main

import (
	"strings"
	"testing"
)

// What is only where the pods run is no reason to refuse: the certificate. And covetd's own settings are settings here as well.
func TestManifestsOfAServiceWithTLSAndBackups(t *testing.T) {
	t.Parallel()
	var out, errs strings.Builder
	code := run(t.Context(), []string{
		"manifests", "render", "--image", "reg.example/shop:v1@sha256:" + strings.Repeat("0", 64), "--set", "SERVICE=shop",
		"--set", "TLS_CERT_FILE=/etc/covet/tls/a.crt", "--set", "TLS_KEY_FILE=/etc/covet/tls/a.key",
		"--set", "COVET_REPO=s3://bucket/shop", "--set", "COVET_S3_ENDPOINT=https://minio.infra:9443", "--set", "ROLES=engineer=dev",
	}, strings.NewReader(""), &out, &errs, func(string) string { return "" })
	if code != 0 {
		t.Fatalf("exit status %d: %s", code, errs.String())
	}
	for _, want := range []string{"secretName: shop-pod-tls", `path: "a.crt"`, "port: http, scheme: HTTPS", "{port: 9443, protocol: TCP}", `COVET_REPO: "s3://bucket/shop"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the manifests have no %q", want)
		}
	}
}
