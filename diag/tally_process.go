package diag

import (
	"fmt"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Whose a socket is, the dump does not say: with [ByProcess], sockets wait until that is known. What waits takes 24 bytes a
// socket and no pointer.

// waiting is what counts of a socket.
type waiting struct {
	idle         idle
	recvQ, sendQ uint32
	// number is the inode, and then what it was given in exchange for it.
	number uint32
	state  netlinkss.State
	timer  netlinkss.Timer
}

// waitingBlock is how many sockets wait in one piece of memory.
const waitingBlock = 4096

// Keys of those without a process; a process's is its number in the list of owners.
var (
	nobodysKey = groupKey{hi: 1}
	unseenKey  = groupKey{hi: 1, lo: 1}
)

// wait keeps a socket until [Tally.Own]. What nobody can hold is counted at once.
func (t *Tally) wait(s *netlinkss.Socket) {
	if s.Inode == 0 {
		t.row(nobodysKey).add(s, t.Idle)
		return
	}
	n := len(t.blocks)
	if n == 0 || len(t.blocks[n-1]) == waitingBlock {
		t.nextBlock()
		n = len(t.blocks)
	}
	w := waiting{number: s.Inode, recvQ: s.RecvQ, sendQ: s.SendQ, state: s.State, timer: s.Timer}
	if t.Idle {
		w.idle = idleOf(s)
	}
	t.blocks[n-1] = append(t.blocks[n-1], w)
}

// nextBlock takes one of an earlier sample, if there is one.
func (t *Tally) nextBlock() {
	if n := len(t.blocks); n < cap(t.blocks) {
		t.blocks = t.blocks[:n+1]
		if t.blocks[n] == nil {
			t.blocks[n] = make([]waiting, 0, waitingBlock)
		}
		t.blocks[n] = t.blocks[n][:0]
		return
	}
	t.blocks = append(t.blocks, make([]waiting, 0, waitingBlock))
}

// Wanted hands over the inode of every socket that waits, and keeps the number that number gives in exchange, from 0 on. It is for
// [ByProcess], after the last Add and Merge.
func (t *Tally) Wanted(number func(inode uint64) (n int, added bool)) {
	for part := range t.all {
		for _, block := range part.blocks {
			for i := range block {
				n, _ := number(uint64(block[i].number))
				block[i].number = uint32(n)
			}
		}
	}
}

// Own counts what waits for its process: of[n] is the place in owners of the one that holds the socket with the number n; -1: it was
// not found.
func (t *Tally) Own(owners []procfd.Owner, of []int32) {
	t.owners = owners
	for part := range t.all {
		for _, block := range part.blocks {
			for i := range block {
				w := &block[i]
				key := unseenKey
				if at := of[w.number]; at >= 0 {
					key = numberKey(uint32(at))
				}
				part.row(key).count(w.state, w.timer, w.recvQ, w.sendQ, w.idle)
			}
		}
		part.blocks = part.blocks[:0]
	}
}

// Owner is the process of a group by process; ok is false for those that no process holds, or whose process was not found.
func (t *Tally) Owner(g *Group) (p procfd.Owner, ok bool) {
	if t.By != ByProcess || g.key.hi != 0 || g.key.lo >= uint64(len(t.owners)) {
		return p, false
	}
	return t.owners[g.key.lo], true
}

// ownerKey names the process of a group.
func (t *Tally) ownerKey(g *Group) string {
	if p, ok := t.Owner(g); ok {
		return fmt.Sprintf("%s[%d]", p.Name, p.PID)
	}
	if g.key == nobodysKey {
		return "no process"
	}
	return "not found"
}
