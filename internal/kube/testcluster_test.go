package kube

import (
	"os"
	"testing"

	"github.com/covetpy/covet/test/kubetest"
)

// testCluster is the kubeconfig of a real cluster: the one that COVET_TEST_KUBECONFIG names, for those who work on this
// package and keep one running, or one of this test's own.
func testCluster(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("COVET_TEST_KUBECONFIG"); path != "" {
		return path
	}
	return kubetest.Shared(t).Kubeconfig
}
