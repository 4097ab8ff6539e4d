package netlinkss

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What stands where a namespace should is not opened: a FIFO would block for ever.
func TestOpenNetnsRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo, file, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	must(t, unix.Mkfifo(fifo, 0o600))
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Symlink(fifo, link))
	for _, path := range []string{fifo, file, link, dir, "/dev/null", "/dev/tty", "/proc/self/status"} {
		err := InNetns(path, func() error { t.Errorf("%s: entered", path); return nil })
		if !errors.Is(err, ErrNotNetns) && !errors.Is(err, unix.ENXIO) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want %v", path, err, ErrNotNetns)
		}
	}
	if err := InNetns(filepath.Join(dir, "none"), func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	var own unix.Stat_t
	must(t, unix.Stat("/proc/self/ns/net", &own))
	if _, err := Dial(&Config{Netns: "/proc/self/ns/net", Inode: own.Ino + 1}); !errors.Is(err, ErrNotNetns) {
		t.Errorf("the file of another namespace: %v, want %v", err, ErrNotNetns)
	}
	there, err := openNetns("/proc/self/ns/net", own.Ino)
	must(t, err)
	there.Close()
	if _, err := openNetns("/proc/self/ns/mnt", 0); err != nil {
		return
	}
	if err := InNetns("/proc/self/ns/mnt", func() error { return nil }); err == nil {
		t.Error("a mount namespace was entered as a network namespace")
	}
}
