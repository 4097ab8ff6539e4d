package main

import (
	"slices"
	"strings"
)

// join lists words for a usage text or a hint.
func join(words []string) string { return strings.Join(words, ", ") }

func contains(words []string, w string) bool { return slices.Contains(words, w) }
