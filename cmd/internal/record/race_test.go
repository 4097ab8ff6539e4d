//go:build race

package record

// raced: the program is several times slower.
const raced = true
