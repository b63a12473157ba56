//go:build pin

// Package crds pins the modules whose custom resource definitions a test cluster has. They are read from the modules' folders;
// nothing is built of them.
package crds

import (
	_ "istio.io/api/networking/v1"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)
