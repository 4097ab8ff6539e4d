//go:build linux && !amd64 && !arm64 && !riscv64 && !loong64

package procfd

// Some of these have one call for all of sockets, and some programs with another word size.
const knowsCalls = false

var callFDs map[uint64][]int

func blindCall(uint64) bool { return true }

func isPoll(uint64) bool { return false }

func isSelect(uint64) bool { return false }

func (f *FS) polled(*Process, int, uint64, []byte) ([]int, error) { return nil, nil }
