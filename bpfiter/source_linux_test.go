package bpfiter

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestOneLine: what the kernel says of the programs is told in one line, and a lack of rights as one.
func TestOneLine(t *testing.T) {
	if older(6, 1) {
		t.Skip("before Linux 6.1 that alone is told")
	}
	refused := func(errno error, log ...string) error {
		return &ebpf.VerifierError{Cause: errno, Log: append(log, "processed 5 insns (limit 1000000)", "")}
	}
	for _, c := range []struct {
		err    error
		says   string
		rights bool
	}{
		{unix.EPERM, "CAP_BPF and CAP_PERFMON", true},
		{refused(unix.EINVAL, "5: (85) call bpf_probe_read_str#45", "program of this type cannot use helper bpf_probe_read_str#45"), "kernel lockdown", true},
		{refused(unix.EACCES, "7: (61)", "access beyond struct sock at off 1184 size 8"), "permission denied: access beyond struct sock at off 1184 size 8", false},
		{refused(unix.EINVAL), "no reason given", false},
		{unix.ENOMEM, "cannot allocate memory", false},
	} {
		err := oneLine(c.err)
		if text := err.Error(); !strings.HasPrefix(text, "BPF: ") || !strings.Contains(text, c.says) || strings.Contains(text, "\n") || strings.Contains(text, "processed") {
			t.Errorf("%v: %q, want it to say %q", c.err, text, c.says)
		}
		if got := errors.Is(err, os.ErrPermission); got != c.rights {
			t.Errorf("%v: a lack of rights: %v", c.err, got)
		}
	}
}
