package procfd

import "testing"

// A line of a thread's call tells of no socket that its descriptors do not show, and of memory nothing where that is not the reader's.
func FuzzSleeper(f *testing.F) {
	for _, s := range []string{"running\n", "-1 0x7ffe 0x0\n", "0 0x5 0x7f 0x10 0x0 0x0 0x0 0x7ffe 0x7f\n", "7 0x7ffe 0xffffffff\n", "270 0x400 0x0 0x1 0x2\n", "x y z", "202 "} {
		f.Add([]byte(s))
	}
	nowhere := &FS{root: "/nonexistent"}
	f.Fuzz(func(t *testing.T, line []byte) {
		w := &Waits{sockets: map[uint64]awaited{100: {}}}
		nowhere.sleeper(&Process{PID: 42}, w, 42, line)
		if len(w.sockets) != 1 || w.sockets[100].told {
			t.Errorf("%q: %v", line, w.sockets)
		}
	})
}
