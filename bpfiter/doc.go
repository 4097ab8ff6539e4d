// Package bpfiter reads the descriptors and the TCP sockets of every process with BPF iterators (iter/task_file, Linux 5.8): in one pass,
// of every network namespace, with who holds them, and with what no list of the kernel tells, such as SO_KEEPALIVE behind another timer.
//
// It sees what a descriptor is open on, and nothing else: no TIME-WAIT, no orphans, no connections that wait to be accepted, no processes
// of other PID namespaces than those below the reader's. It needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, and a kernel that tells its own
// types (/sys/kernel/btf/vmlinux). A socket of MPTCP is not told, but for its descriptor; a connection that fell back to TCP is.
//
// The programs are in iter.c; go generate compiles them with clang and the headers of libbpf.
package bpfiter
