package kube

import "strings"

// digestOf is the digest by which an image or a running container's image id is known, or empty.
func digestOf(image string) string {
	if _, d, ok := strings.Cut(image, "@"); ok && strings.Contains(d, ":") {
		return d
	}
	return ""
}

// pinned is an image with the digest that really runs, where the runtime tells it. The tag stays for people to read.
func pinned(image, imageID string) string {
	d := digestOf(imageID)
	if digestOf(image) != "" || d == "" {
		return image
	}
	return image + "@" + d
}
