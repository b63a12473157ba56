// Command covetd is the service: the runtime, and on one machine the application's releases as supervised workers with a
// balancer before them.
package main

import (
	"context"
	"os"
	"strings"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}, os.Environ()))
}

// lookup finds a variable in an environment.
func lookup(environ []string, name string) string {
	for _, kv := range environ {
		if n, v, ok := strings.Cut(kv, "="); ok && n == name {
			return v
		}
	}
	return ""
}
