package procfd

import "strconv"

// NoYama: the kernel has no Yama, or does not tell.
const NoYama = -1

// Yama is kernel.yama.ptrace_scope, [NoYama] where there is none. With 0 a process may be borrowed descriptors from by others of its
// user; with 1 by its ancestors; with 2 by who has CAP_SYS_PTRACE; with 3 by nobody. What is read of a process it does not bear on.
func (f *FS) Yama() int {
	n, err := strconv.Atoi(f.line("sys", "kernel", "yama", "ptrace_scope"))
	if err != nil || n < 0 || n > 3 {
		return NoYama
	}
	return n
}
