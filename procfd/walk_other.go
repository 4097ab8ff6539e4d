//go:build !linux

package procfd

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

type visit func(fd int, target []byte, err error)

func walkMany(dir string, _ <-chan struct{}, visitor func(asked, listed int) visit) error {
	return walkFDs(dir, visitor(0, 0))
}

// walkFDs reads a recorded tree; only Linux has a live one.
func walkFDs(dir string, f visit) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			target, err := os.Readlink(filepath.Join(dir, e.Name()))
			f(fd, []byte(target), err)
		}
	}
	return nil
}

func walkKnown(dir string, _ func(fd int) bool, f visit) error { return walkFDs(dir, f) }

func compareFDs(int, int) int { return 0 }

func tellFDs(int, int) (int, bool) { return 0, true }

// SharesTable is known on Linux alone.
func (*FS) SharesTable(int, int) bool { return false }

func readInto(path string, buf []byte) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	n, err := file.Read(buf)
	return buf[:n], err
}

func sinceBoot() time.Duration { return 0 }

func countsDescriptors(string) bool { return false }

// Search finds the descriptors on sockets that are wanted, in the order of their processes. denied are the processes that
// could not be read.
func (f *FS) Search(pids []int, want func(inode uint64) bool) (found []Holder, denied []int) {
	for _, pid := range pids {
		err := walkFDs(f.Path(pid, "fd"), func(fd int, target []byte, err error) {
			if inode, ok := socketInode(target); err == nil && ok && want(inode) {
				found = append(found, Holder{PID: pid, FD: fd, Inode: inode})
			}
		})
		if isDenied(err) {
			denied = append(denied, pid)
		}
	}
	return found, denied
}

// Owners is refused.
func (*FS) Owners(context.Context, *Wanted, Inodes) (*Owned, error) { return nil, errLinuxOnly }

// Owner is refused.
func (*FS) Owner(int) (Owner, bool) { return Owner{}, false }
