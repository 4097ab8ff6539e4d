//go:build linux && (arm64 || riscv64 || loong64)

package procfd

var oldPolls, oldSelects [0]uint64
