//go:build !failpoints

package main

// failpoints returns nothing: only builds with the tag failpoints can be made to fail.
func failpoints(string) (func(step string) error, error) { return nil, nil }
