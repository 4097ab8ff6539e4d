//go:build linux

// Command holder opens connections on loopback, has both ends of each, says "ready", and keeps them until its stdin ends.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	h := holder{}
	flag.IntVar(&h.connections, "connections", 0, "how many connections")
	flag.IntVar(&h.first, "first", 0, "how many connections other holders have before this one")
	flag.IntVar(&h.peers, "peers", 1, "how many peer addresses all of them are spread over")
	flag.StringVar(&h.families, "families", "4", "4, 6 or mixed")
	flag.Float64Var(&h.keepalive, "keepalive", 0, "the share with keepalive")
	flag.Parse()
	if err := h.hold(); err != nil {
		fmt.Fprintln(os.Stderr, "holder: error:", err)
		os.Exit(2)
	}
}

type holder struct {
	connections, first, peers int
	families                  string
	keepalive                 float64
}

func (h *holder) hold() error {
	lim := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	if err := h.open(); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// open opens the connections. The kinds of sockets take turns.
func (h *holder) open() error {
	kinds, err := kindsOf(h.families)
	if err != nil {
		return err
	}
	for i := range kinds {
		if err := kinds[i].listen(); err != nil {
			return fmt.Errorf("listen for %s: %w", kinds[i].name, err)
		}
	}
	for i := h.first; i < h.first+h.connections; i++ {
		turn := i / len(kinds)
		if err := kinds[i%len(kinds)].connect(turn%h.peers, chosen(turn, h.keepalive)); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return nil
}

// chosen spreads a share evenly: of the first n numbers, share*n are chosen.
func chosen(i int, share float64) bool {
	return int(float64(i+1)*share) > int(float64(i)*share)
}
