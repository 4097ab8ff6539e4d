// Package raced tells tests whether the race detector is in: the program is several times slower then, and what is not concurrent is
// tested without it.
package raced

// On: the race detector is in.
const On = on
