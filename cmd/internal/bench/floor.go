package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/sockleak/sockleak/netlinkss"
)

// floorEnv makes this program the floor of a scan of that process: the least that the kernel must do for it.
const floorEnv = "SOCKLEAK_BENCH_FLOOR"

// floor is one dump of every socket, thrown away, and one readlink for each descriptor.
func floor(pid string) error {
	conn, err := netlinkss.Dial(nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, err := range conn.Dump(context.Background(), netlinkss.Request{}) {
		if err != nil {
			return err
		}
	}
	dir := filepath.Join("/proc", pid, "fd")
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		_, _ = os.Readlink(filepath.Join(dir, name.Name())) // closed since
	}
	return nil
}
