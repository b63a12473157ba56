// Package config is what a service can be told: every setting of the runtime and those that an application declares, where each
// value comes from, and what is wrong with it. It says everything that is wrong at once, and never shows a secret.
package config
