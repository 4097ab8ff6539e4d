//go:build !linux

package procfd

import (
	"errors"
	"os"
	"time"
)

var errLinuxOnly = errors.New("Linux only")

// Asker borrows descriptors of one process; only Linux can.
type Asker struct{}

// Ask is refused.
func (f *FS) Ask(*Process) (*Asker, error) { return nil, errLinuxOnly }

// Close does nothing.
func (*Asker) Close() error { return nil }

// Socket is refused.
func (*Asker) Socket(SocketFD) (*Answer, error) { return nil, errLinuxOnly }

// Netns is refused.
func (*Asker) Netns(SocketFD) (*os.File, error) { return nil, errLinuxOnly }

// Tickets is refused.
func (*Asker) Tickets(SocketFD) (bool, error) { return false, errLinuxOnly }

// Protocol is refused.
func (f *FS) Protocol(*Process, SocketFD) (string, error) { return "", errLinuxOnly }

// FirstLookedAt is refused.
func (f *FS) FirstLookedAt(*Process, SocketFD) (time.Time, error) { return time.Time{}, errLinuxOnly }

// FDInfo is refused.
func (f *FS) FDInfo(*Process, SocketFD) (FDInfo, error) { return FDInfo{}, errLinuxOnly }

// Waits is refused.
func (f *FS) Waits(*Process) (*Waits, error) { return nil, errLinuxOnly }
