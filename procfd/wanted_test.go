package procfd

import (
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"
)

func TestWanted(t *testing.T) {
	for _, hint := range []int{0, 1, 1000, 100_000} {
		const n = 50_000
		w := NewWanted(hint)
		for i := range n {
			if slot, added := w.Add(uint64(i)*7 + 1); slot != i || !added {
				t.Fatalf("slot %d, added %v, want slot %d", slot, added, i)
			}
		}
		for _, i := range []int{0, 1, n / 2, n - 1} {
			if slot, added := w.Add(uint64(i)*7 + 1); slot != i || added {
				t.Errorf("again: slot %d, added %v, want slot %d", slot, added, i)
			}
		}
		if slot, added := w.Add(0); slot != -1 || added || w.Len() != n {
			t.Errorf("no inode: slot %d, added %v, %d sockets", slot, added, w.Len())
		}
		seen := make([]int, n)
		w.Each(func(slot, process int) {
			if seen[slot]++; process != -1 {
				t.Fatalf("slot %d is that of process %d", slot, process)
			}
		})
		for slot, times := range seen {
			if times != 1 {
				t.Fatalf("slot %d was told %d times", slot, times)
			}
		}
	}
}

// A million sockets take 24 MB, and no more while they are added.
func TestWantedSize(t *testing.T) {
	const n = 1_000_000
	w := NewWanted(n)
	before := &w.table[0]
	for i := range n {
		w.Add(rand.Uint64N(1<<32-1) + 1 + uint64(i)<<32)
	}
	if size := len(w.table) * int(unsafe.Sizeof(w.table[0])); w.Len() != n || &w.table[0] != before || size > 24<<20 {
		t.Errorf("%d sockets in %d bytes", w.Len(), size)
	}
}

// Whoever comes first in time, the first in the order gets it.
func TestWantedClaims(t *testing.T) {
	const n, processes = 5000, 8
	w := NewWanted(n)
	for i := range n {
		w.Add(uint64(i) + 1)
	}
	w.reset()
	var all sync.WaitGroup
	for p := range processes {
		all.Go(func() {
			for _, i := range rand.Perm(n) {
				if i%processes >= p { // the last process is that of few, the first that of all others
					w.claim(uint64(i)+1, uint32(processes-1-p))
				}
			}
		})
	}
	all.Wait()
	if w.missing.Load() != 0 || w.last.Load() < processes-1 || w.over(0) || !w.over(w.last.Load()) {
		t.Errorf("%d missing, the last owner is %d", w.missing.Load(), w.last.Load())
	}
	w.Each(func(slot, process int) {
		if want := processes - 1 - slot%processes; process != want {
			t.Fatalf("slot %d is that of process %d, want %d", slot, process, want)
		}
	})
	for _, inode := range []uint64{0, n + 1} {
		if w.claim(inode, 0) {
			t.Errorf("claimed %d, which is not wanted", inode)
		}
	}
}

func TestWantedReplace(t *testing.T) {
	w := NewWanted(3)
	for inode := range uint64(3) {
		w.Add(inode + 1)
	}
	w.reset()
	w.claim(1, 0)
	w.claim(2, 1)
	w.claim(3, 1)
	if w.claim(3, 4) || !w.claim(3, 0) || !w.over(1) || w.over(0) {
		t.Error("the later took it from the earlier, or not the earlier from the later")
	}
	if missing := w.replace([]uint32{unowned, 5}); missing != 2 || w.over(100) {
		t.Errorf("%d missing, want 2", missing)
	}
	got := map[int]int{}
	w.Each(func(slot, process int) { got[slot] = process })
	if got[0] != -1 || got[1] != 5 || got[2] != -1 {
		t.Errorf("owners %v", got)
	}
}

// Nothing is wanted: nobody need be asked.
func TestWantedNothing(t *testing.T) {
	w := NewWanted(0)
	w.reset()
	if !w.over(0) {
		t.Error("somebody is to be asked")
	}
}

func BenchmarkWanted(b *testing.B) {
	const n = 1_000_000
	w := NewWanted(n)
	for i := range n {
		w.Add(uint64(i)*3 + 1)
	}
	w.reset()
	i := 0
	for b.Loop() {
		w.claim(uint64(i)*3+1, 0)
		if i++; i == n {
			i = 0
		}
	}
}
