package netlinkss

import (
	"errors"
	"fmt"
)

// What callers act on.
var (
	// ErrNotSupported: the kernel (or a sandbox round it) has no sock_diag for TCP. /proc/net/tcp is
	// the way that is left, see [ReadProcNet].
	ErrNotSupported = errors.New("sock_diag is not supported")
	// ErrInterrupted: the kernel marked the dump as inconsistent (NLM_F_DUMP_INTR).
	ErrInterrupted = errors.New("dump interrupted by a change in the kernel's tables")
	// ErrTruncated: the dump ended before its NLMSG_DONE, or a record before its length.
	ErrTruncated = errors.New("dump cut short")
	// ErrNotNetns: a file is not the one of the network namespace that was meant, or of none.
	ErrNotNetns = errors.New("not the file of that network namespace")
	// ErrNotFound: no such socket.
	ErrNotFound = errors.New("no such socket")
	// ErrMalformed: bytes that no kernel writes.
	ErrMalformed = errors.New("malformed record")
)

// OpError is a failed step of a dump: what was done, and the cause.
type OpError struct {
	Op  string
	Err error
}

func (e *OpError) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *OpError) Unwrap() error { return e.Err }

func opError(op string, err error) error {
	if err == nil {
		return nil
	}
	return &OpError{Op: op, Err: err}
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}
