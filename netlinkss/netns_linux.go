package netlinkss

import (
	"runtime"

	"github.com/vishvananda/netns"
)

// InNetns runs f on a thread of the network namespace in the file path, or of the caller's when path
// is empty: files under /proc/sys/net and new sockets are then that namespace's. Needs CAP_SYS_ADMIN
// for another one.
func InNetns(path string, f func() error) error {
	if path == "" {
		return f()
	}
	there, err := netns.GetFromPath(path)
	if err != nil {
		return opError("open network namespace", err)
	}
	defer there.Close()
	result := make(chan error, 1)
	// A goroutine of its own: its thread is thrown away if the way back is barred.
	go func() { result <- inNetns(there, f) }()
	return <-result
}

func inNetns(there netns.NsHandle, f func() error) error {
	runtime.LockOSThread()
	back, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return opError("open network namespace", err)
	}
	defer back.Close()
	if err := netns.Set(there); err != nil {
		runtime.UnlockOSThread()
		return opError("enter network namespace", err)
	}
	err = f()
	if netns.Set(back) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
