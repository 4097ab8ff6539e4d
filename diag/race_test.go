//go:build race

package diag

// raced: the program is several times slower.
const raced = true
