//go:build linux

package inject

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Numbers are those of the system calls that can be seen, by name.
var Numbers = map[string]int{
	"openat": unix.SYS_OPENAT, "openat2": unix.SYS_OPENAT2, "read": unix.SYS_READ, "pread64": unix.SYS_PREAD64, "readlinkat": unix.SYS_READLINKAT,
	"getdents64": unix.SYS_GETDENTS64, "newfstatat": sysFstatat, "statx": unix.SYS_STATX, "fstat": unix.SYS_FSTAT, "fstatfs": unix.SYS_FSTATFS,
	"statfs": unix.SYS_STATFS, "socket": unix.SYS_SOCKET, "bind": unix.SYS_BIND, "sendto": unix.SYS_SENDTO, "recvfrom": unix.SYS_RECVFROM,
	"recvmsg": unix.SYS_RECVMSG, "sendmsg": unix.SYS_SENDMSG, "getsockopt": unix.SYS_GETSOCKOPT, "setsockopt": unix.SYS_SETSOCKOPT,
	"getsockname": unix.SYS_GETSOCKNAME, "getpeername": unix.SYS_GETPEERNAME, "setns": unix.SYS_SETNS, "unshare": unix.SYS_UNSHARE,
	"pidfd_open": unix.SYS_PIDFD_OPEN, "pidfd_getfd": unix.SYS_PIDFD_GETFD, "ioctl": unix.SYS_IOCTL, "lgetxattr": unix.SYS_LGETXATTR,
	"getxattr": unix.SYS_GETXATTR, "fgetxattr": unix.SYS_FGETXATTR, "process_vm_readv": unix.SYS_PROCESS_VM_READV,
	"process_vm_writev": unix.SYS_PROCESS_VM_WRITEV, "kcmp": unix.SYS_KCMP, "lseek": unix.SYS_LSEEK, "ptrace": unix.SYS_PTRACE, "kill": unix.SYS_KILL,
	"tgkill": unix.SYS_TGKILL, "pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL, "connect": unix.SYS_CONNECT, "shutdown": unix.SYS_SHUTDOWN,
	"faccessat": unix.SYS_FACCESSAT, "unlinkat": unix.SYS_UNLINKAT, "mkdirat": unix.SYS_MKDIRAT, "write": unix.SYS_WRITE, "pwrite64": unix.SYS_PWRITE64,
	// Those of a runtime, which go on about nothing but the process itself.
	"futex": unix.SYS_FUTEX, "nanosleep": unix.SYS_NANOSLEEP, "clock_nanosleep": unix.SYS_CLOCK_NANOSLEEP, "clock_gettime": unix.SYS_CLOCK_GETTIME,
	"mmap": unix.SYS_MMAP, "munmap": unix.SYS_MUNMAP, "mprotect": unix.SYS_MPROTECT, "madvise": unix.SYS_MADVISE, "mincore": unix.SYS_MINCORE,
	"brk": unix.SYS_BRK, "mremap": unix.SYS_MREMAP, "prctl": unix.SYS_PRCTL, "rt_sigaction": unix.SYS_RT_SIGACTION, "rt_sigprocmask": unix.SYS_RT_SIGPROCMASK, "rt_sigreturn": unix.SYS_RT_SIGRETURN,
	"sigaltstack": unix.SYS_SIGALTSTACK, "clone": unix.SYS_CLONE, "clone3": unix.SYS_CLONE3, "exit": unix.SYS_EXIT, "exit_group": unix.SYS_EXIT_GROUP,
	"sched_yield": unix.SYS_SCHED_YIELD, "sched_getaffinity": unix.SYS_SCHED_GETAFFINITY, "getpid": unix.SYS_GETPID, "gettid": unix.SYS_GETTID,
	"getppid": unix.SYS_GETPPID, "getuid": unix.SYS_GETUID, "geteuid": unix.SYS_GETEUID, "getgid": unix.SYS_GETGID, "getegid": unix.SYS_GETEGID, "uname": unix.SYS_UNAME,
	"epoll_create1": unix.SYS_EPOLL_CREATE1, "epoll_pwait": unix.SYS_EPOLL_PWAIT, "epoll_ctl": unix.SYS_EPOLL_CTL, "eventfd2": unix.SYS_EVENTFD2, "pipe2": unix.SYS_PIPE2,
	"ppoll": unix.SYS_PPOLL, "set_tid_address": unix.SYS_SET_TID_ADDRESS, "set_robust_list": unix.SYS_SET_ROBUST_LIST, "rseq": unix.SYS_RSEQ, "membarrier": unix.SYS_MEMBARRIER,
	"prlimit64": unix.SYS_PRLIMIT64, "getrandom": unix.SYS_GETRANDOM, "restart_syscall": unix.SYS_RESTART_SYSCALL, "getrusage": unix.SYS_GETRUSAGE,
	"timer_create": unix.SYS_TIMER_CREATE, "timer_settime": unix.SYS_TIMER_SETTIME, "timer_delete": unix.SYS_TIMER_DELETE, "setitimer": unix.SYS_SETITIMER,
	"close": unix.SYS_CLOSE, "dup3": unix.SYS_DUP3, "fcntl": unix.SYS_FCNTL, "getcwd": unix.SYS_GETCWD, "capget": unix.SYS_CAPGET,
	"renameat2": unix.SYS_RENAMEAT2, "execve": unix.SYS_EXECVE, "mount": unix.SYS_MOUNT, "bpf": unix.SYS_BPF,
}

// names are what [Numbers] has, by number.
var names = sync.OnceValue(func() map[int]string {
	byNumber := map[int]string{}
	for name, n := range Numbers {
		byNumber[n] = name
	}
	return byNumber
})
