//go:build race

package main

// raced: the program is several times slower.
const raced = true
