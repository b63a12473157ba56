package kube

import (
	"os"
	"testing"
)

func testCluster(t *testing.T) string {
	t.Helper()
	path := os.Getenv("COVET_TEST_KUBECONFIG")
	if path == "" {
		t.Skip("no cluster")
	}
	return path
}
