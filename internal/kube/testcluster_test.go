package kube

import (
	"flag"
	"fmt"
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

// TestMain lets more tests run at once than there are processors: they wait for pods most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
