//go:build !linux

package doctor

import (
	"context"

	"github.com/sockleak/sockleak/procfd"
)

// Read reads nothing: only Linux has what it reads.
func Read(context.Context, *procfd.FS) *Facts {
	return &Facts{SockDiag: errUntried, ProcNet: errUntried, Borrow: errUntried}
}
