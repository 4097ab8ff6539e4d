//go:build !race

package diag

const raced = false
