package procfd

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what is read of one process.
const (
	mostSets     = 4096
	mostSetBytes = 1 << 28 // some four million entries
)

// Waits reads what a process, whose descriptors have been read, will be told of: its epoll sets, also those that it
// shares with others, and the calls in which its threads sleep. The sets take the right to read its descriptors, the
// calls that to attach to it. The error wraps [ErrGone] when it is not the process any more that was identified; what
// else could not be read is in Blind.
func (f *FS) Waits(p *Process) (*Waits, error) {
	w := &Waits{sockets: make(map[uint64]awaited, len(p.Sockets))}
	for _, s := range p.Sockets {
		w.sockets[s.Inode] = awaited{}
	}
	for _, g := range p.Gaps {
		if strings.HasPrefix(g.What, "descriptors") {
			w.blind(fmt.Errorf("%s: %w", g.What, g.Err))
		}
	}
	if len(p.Urings)+len(p.ownUrings) > 0 {
		w.blind(errors.New("what is submitted to an io_uring cannot be seen"))
	}
	f.sets(p, w)
	f.sleepers(p, w)
	if !f.SameProcess(p) {
		return nil, gone(p.PID, ErrGone)
	}
	return w, nil
}

// sets reads the epoll sets. One within another is among them, as it has a descriptor, too.
func (f *FS) sets(p *Process, w *Waits) {
	list := slices.Clone(p.ownEpolls)
	for _, fd := range p.Epolls {
		list = append(list, taskFD{0, fd})
	}
	if len(list) > mostSets {
		list = list[:mostSets]
		w.blind(errors.New("there are too many epoll sets"))
	}
	budget := io.LimitedReader{N: mostSetBytes}
	for _, e := range list {
		err := w.set(f.tablePath(p, e.task, "fdinfo", e.fd), &budget)
		switch {
		case isEnded(err): // closed since
		case err != nil:
			w.blind(err)
		case budget.N <= 0:
			w.blind(errors.New("the epoll sets are too large"))
			return
		default:
			w.Sets++
		}
	}
}

// set reads one epoll set through the budget of all.
func (w *Waits) set(path string, budget *io.LimitedReader) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	budget.R = file
	return eachLine(budget, w.entry)
}

// entry reads a line of a set, "tfd: 5 events: 19 data: 5  pos:0 ino:ebb2b4 sdev:9": the events and the inode in
// hexadecimal digits. Other lines of fdinfo do not begin so.
func (w *Waits) entry(line []byte) {
	if !bytes.HasPrefix(line, []byte("tfd:")) {
		return
	}
	events, ok := hexAfter(line, "events:")
	inode, ok2 := hexAfter(line, " ino:")
	if !ok || !ok2 {
		w.blind(errors.New("the kernel does not tell the inodes in an epoll set"))
		return
	}
	w.tell(inode, uint32(events))
}

// hexAfter reads the number behind a name and spaces.
func hexAfter(line []byte, name string) (uint64, bool) {
	i := bytes.Index(line, []byte(name))
	if i < 0 {
		return 0, false
	}
	digits := bytes.TrimLeft(line[i+len(name):], " ")
	if end := bytes.IndexByte(digits, ' '); end >= 0 {
		digits = digits[:end]
	}
	n, err := strconv.ParseUint(string(digits), 16, 64)
	return n, err == nil
}

// sleepers reads the system calls in which threads sleep.
func (f *FS) sleepers(p *Process, w *Waits) {
	if err := f.callsKnown(p); err != nil {
		w.blind(err)
		return
	}
	tids, err := f.tasks(p.PID)
	if err != nil {
		w.blind(err)
	}
	if len(tids) > mostThreads {
		tids = tids[:mostThreads]
		w.blind(errors.New("there are too many threads"))
	}
	buf := make([]byte, 512)
	for _, tid := range tids {
		if tid == p.PID && p.FDTask != p.PID {
			continue // it has exited
		}
		line, err := readInto(f.Path(p.PID, "task", strconv.Itoa(tid), "syscall"), buf)
		switch {
		case err == nil:
			f.sleeper(p, w, tid, line)
		case !isEnded(err):
			w.blind(err)
			if isDenied(err) {
				return // so are the others
			}
		}
	}
}

// callsKnown: the numbers of system calls are those of this program's architecture, if the process is of that, too.
func (f *FS) callsKnown(p *Process) error {
	if !knowsCalls {
		return errors.New("the system calls of this architecture are not known")
	}
	// Through the thread, as a leader that has exited shows no executable.
	ident, err := readInto(f.Path(p.PID, "task", strconv.Itoa(p.FDTask), "exe"), make([]byte, elf.EI_NIDENT))
	if err != nil {
		return err
	}
	if len(ident) < elf.EI_NIDENT || elf.Class(ident[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return errors.New("it is not a 64-bit program")
	}
	return nil
}

// sleeper takes one line of /proc/PID/task/TID/syscall: "0 0x3 0x7ffe…", the number of the call and its arguments, or
// "running", or "-1 …" outside of a call.
func (f *FS) sleeper(p *Process, w *Waits, tid int, line []byte) {
	fields := bytes.Fields(line)
	if len(fields) == 0 {
		return
	}
	number, err := strconv.ParseUint(string(fields[0]), 10, 31)
	if err != nil {
		return
	}
	switch {
	case blindCall(number):
		w.blind(errors.New("a thread waits in a call that does not show for what"))
	case isPoll(number) || isSelect(number):
		fds, err := f.polled(p, tid, number, line)
		if err != nil {
			w.blind(err)
		}
		for _, fd := range fds {
			f.asleepOn(p, w, tid, fd)
		}
	}
	for _, arg := range callFDs[number] {
		if fd, ok := argument(fields, arg); ok {
			f.asleepOn(p, w, tid, fd)
		}
	}
}

// asleepOn tells of a descriptor, in the thread's own view of its table, whichever that is.
func (f *FS) asleepOn(p *Process, w *Waits, tid, fd int) {
	target, err := os.Readlink(f.Path(p.PID, "task", strconv.Itoa(tid), "fd", strconv.Itoa(fd)))
	if inode, ok := socketInode([]byte(target)); err == nil && ok {
		w.tell(inode, 0)
	}
}

// argument reads a descriptor among the arguments: an int, in the lower half of a register.
func argument(fields [][]byte, i int) (int, bool) {
	if i+1 >= len(fields) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(bytes.TrimPrefix(fields[i+1], []byte("0x"))), 16, 64)
	return int(int32(v)), err == nil && int32(v) >= 0
}
