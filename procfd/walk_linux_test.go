package procfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A leaking process has tens of thousands of descriptors: none of them may cost an allocation.
func TestWalkFDsAllocs(t *testing.T) {
	allocs := map[int]float64{}
	for _, n := range []int{10, 1000, 2000} { // the last takes more than one buffer
		t.Run(fmt.Sprintf("fds=%d", n), func(t *testing.T) {
			dup(t, n)
			seen := 0
			allocs[n] = testing.AllocsPerRun(10, func() {
				seen = 0
				if err := walkFDs("/proc/self/fd", func(int, []byte, error) { seen++ }); err != nil {
					t.Fatal(err)
				}
			})
			if seen < n {
				t.Errorf("walked over %d of %d", seen, n)
			}
			if allocs[n] != allocs[10] {
				t.Errorf("%v allocations, and %v for 10", allocs[n], allocs[10])
			}
		})
	}
}

// walked is what walkMany shows of the own descriptors, and how often. during is called once, in the
// middle of the walk.
func walked(t *testing.T, during func()) map[int]int {
	t.Helper()
	return walkedBeside(t, nil, during)
}

func walkedBeside(t *testing.T, idle <-chan struct{}, during func()) map[int]int {
	t.Helper()
	var mu sync.Mutex
	times := map[int]int{}
	var once sync.Once
	err := walkMany("/proc/self/fd", idle, func(int, int) visit {
		return func(fd int, _ []byte, _ error) {
			once.Do(during)
			mu.Lock()
			defer mu.Unlock()
			times[fd]++
		}
	})
	must(t, err)
	return times
}

// Whatever way the size of the table has a walk go, it shows each descriptor once.
func TestWalkMany(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // from three on, two threads walk
	for _, n := range []int{10, denseFrom, 2*denseFrom + 1, parallelFrom, parallelFrom + 2*denseBlock} {
		t.Run(fmt.Sprintf("fds=%d", n), func(t *testing.T) {
			dense := dup(t, n)
			far := dupAt(t, dense[0], 3*n+denseFrom) // beyond what is asked for in turn
			times := walked(t, func() {})
			for _, fd := range append(dense, far) {
				if times[fd] != 1 {
					t.Errorf("descriptor %d was shown %d times", fd, times[fd])
				}
			}
			for fd, n := range times {
				if n != 1 {
					t.Errorf("descriptor %d was shown %d times", fd, n)
				}
			}
		})
	}
}

// On two cores the second thread waits for the work beside the walk to be done, and for no longer than the walk.
func TestWalkManyBeside(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	fds := dup(t, parallelFrom+2*denseBlock)
	for _, name := range []string{"idle at once", "idle amid the walk", "never idle"} {
		idle := make(chan struct{})
		if name == "idle at once" {
			close(idle)
		}
		times := walkedBeside(t, idle, func() {
			if name == "idle amid the walk" {
				close(idle)
			}
		})
		for _, fd := range fds {
			if times[fd] != 1 {
				t.Fatalf("%s: descriptor %d was shown %d times", name, fd, times[fd])
			}
		}
	}
}

// Descriptors that are opened during a walk are not counted against those that were open all along.
func TestWalkManyGrowing(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, n := range []int{2 * denseFrom, parallelFrom} {
		t.Run(fmt.Sprintf("fds=%d", n), func(t *testing.T) {
			needFDs(t, 5*n)
			s := ipv4.socket(t)
			gap := dups(t, s.fd, n)
			stable := dup(t, n)
			far := dupAt(t, s.fd, 5*n)
			closeAll(t, gap)
			var opened []int
			times := walked(t, func() { opened = dups(t, s.fd, n-10) }) // the walk itself has some of the gap
			closeAll(t, opened)
			for _, fd := range append(stable, far) {
				if times[fd] != 1 {
					t.Fatalf("descriptor %d was shown %d times", fd, times[fd])
				}
			}
		})
	}
}

// dups opens n descriptors on what fd is open on, with the first free numbers. Who calls it closes them.
func dups(t *testing.T, fd, n int) (fds []int) {
	t.Helper()
	for range n {
		more, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Error(err) // not fatal: a walk may call
			return fds
		}
		fds = append(fds, more)
	}
	return fds
}

func closeAll(t *testing.T, fds []int) {
	t.Helper()
	for _, fd := range fds {
		must(t, unix.Close(fd))
	}
}

func TestWalkFDsErrors(t *testing.T) {
	file := tree{"file": "", "dir/": ""}.mount(t).root
	for _, tt := range []struct {
		dir  string
		want error
	}{
		{file + "/none", unix.ENOENT},
		{file + "/file", unix.ENOTDIR},
		{file + "/dir", nil},
	} {
		err := walkFDs(tt.dir, func(fd int, _ []byte, _ error) { t.Errorf("descriptor %d in %s", fd, tt.dir) })
		var path *fs.PathError
		if !errors.Is(err, tt.want) || err != nil && (!errors.As(err, &path) || path.Path != tt.dir) {
			t.Errorf("%s: %v, want %v", tt.dir, err, tt.want)
		}
	}
}

// What the kernel fills in is trusted no further than its buffer.
func TestWalkEntriesMalformed(t *testing.T) {
	entry := func(size int, name string) []byte {
		b := make([]byte, direntName, direntName+len(name))
		binary.NativeEndian.PutUint16(b[direntReclen:], uint16(size))
		return append(b, name...)
	}
	for _, b := range [][]byte{
		nil, make([]byte, direntName), entry(0, "5\x00"), entry(direntName, "5\x00"), entry(200, "5\x00"),
		entry(direntName+1, "5"), entry(direntName+1, "\x00"),
	} {
		w := fdWalk{dir: -1, f: func(fd int, _ []byte, _ error) { t.Errorf("% x: descriptor %d", b, fd) }}
		w.entries(b)
	}
}

var numberTests = []struct {
	name string
	n    int
	ok   bool
}{
	{"0\x00", 0, true},
	{"7\x00junk", 7, true},
	{"1073741824\x00", 1 << 30, true},
	{"\x00", 0, false},
	{"", 0, false},
	{"12", 0, false}, // no end
	{".\x00", 0, false},
	{"..\x00", 0, false},
	{"-1\x00", 0, false},
	{"1 \x00", 0, false},
	{"9999999999\x00", 0, false},
	{"99999999999999999999999\x00", 0, false},
}

func TestNumber(t *testing.T) {
	for _, tt := range numberTests {
		if n, ok := number([]byte(tt.name)); n != tt.n || ok != tt.ok {
			t.Errorf("%q: %d %v, want %d %v", tt.name, n, ok, tt.n, tt.ok)
		}
	}
}

func FuzzNumber(f *testing.F) {
	for _, tt := range numberTests {
		f.Add([]byte(tt.name))
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		n, ok := number(name)
		if n < 0 || !ok && n != 0 {
			t.Errorf("%q: %d %v", name, n, ok)
		}
		if ok {
			digits := unix.ByteSliceToString(name)
			if want, err := strconv.Atoi(digits); err != nil || n != want {
				t.Errorf("%q: %d, want %d, %v", name, n, want, err)
			}
		}
	})
}
