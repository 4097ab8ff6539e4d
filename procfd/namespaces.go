package procfd

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Namespace is a network namespace of the host.
type Namespace struct {
	Inode uint64
	// Path is a file through which it can be entered: of a process or a thread that lives in it, or where it is mounted. Who opens it
	// compares the inode: the process may have ended since, and a mount be another one.
	Path string
	// PID and Task are of a thread that lives in it, the leader of its process if one does; 0: nobody does.
	PID, Task int
	// Members are the processes of which a thread lives in it, in the order of their numbers.
	Members []int
	// Mounts are where it is mounted, as the first mount namespace that has it there sees it, at most [MaxMounts].
	Mounts []string
}

// MaxMounts is how many places of a namespace's mounts are kept.
const MaxMounts = 8

// Name is that of `ip netns`, "" where it has none.
func (n *Namespace) Name() string {
	for _, at := range n.Mounts {
		if dir := path.Dir(at); dir == "/run/netns" || dir == "/var/run/netns" {
			return path.Base(at)
		}
	}
	return ""
}

// Namespaces is what [FS.Namespaces] found.
type Namespaces struct {
	List []Namespace // in the order of their inodes
	// Denied counts the processes whose namespaces may not be read.
	Denied int
	// Unread counts mount namespaces whose mounts could not be read, or not in full.
	Unread int
}

// Namespaces finds the network namespaces of the processes and threads that can be seen, and those that are mounted in a mount
// namespace of theirs, as `ip netns` and container runtimes do it. Some are in neither: a descriptor or a socket alone keeps them, see
// [Asker.Netns]. It costs two links for each process, one for each further thread, and a list of mounts for each mount namespace.
func (f *FS) Namespaces(ctx context.Context) (*Namespaces, error) {
	pids, err := f.PIDs()
	if err != nil {
		return nil, err
	}
	s := &nsSearch{fs: f, ctx: ctx, found: map[uint64]*Namespace{}, mounts: map[uint64]int{}}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pids)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(pids) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				s.process(pids[i])
			}
		})
	}
	workers.Wait()
	s.readMounts()
	return s.result(), ctx.Err()
}

// nsSearch is a search for namespaces.
type nsSearch struct {
	fs  *FS
	ctx context.Context

	mu     sync.Mutex
	found  map[uint64]*Namespace
	mounts map[uint64]int // mount namespaces, by their inodes, and a process of each
	denied int
	unread int
}

// process takes the namespaces of a process and its threads.
func (s *nsSearch) process(pid int) {
	netns, err := s.fs.nsInode(s.fs.Path(pid, "ns", "net"), "net")
	switch {
	case errors.Is(err, fs.ErrPermission):
		if s.fs.isKernel(pid) {
			return // it lives in the host's, and holds nothing
		}
		s.mu.Lock()
		s.denied++
		s.mu.Unlock()
		return
	case err == nil:
		s.lives(netns, pid, pid)
	}
	if mounts, err := s.fs.nsInode(s.fs.Path(pid, "ns", "mnt"), "mnt"); err == nil {
		s.mu.Lock()
		if first, ok := s.mounts[mounts]; !ok || pid < first {
			s.mounts[mounts] = pid
		}
		s.mu.Unlock()
	}
	if linksOf(s.fs.Path(pid, "task")) == taskLinks+1 {
		return
	}
	for _, tid := range s.fs.threads(pid) {
		if of, err := s.fs.nsInode(s.fs.Path(pid, "task", strconv.Itoa(tid), "ns", "net"), "net"); err == nil && of != netns {
			s.lives(of, pid, tid)
		}
		if s.ctx.Err() != nil {
			return
		}
	}
}

// taskLinks is how many links a directory of threads has beside those of its threads.
const taskLinks = 2

// lives notes a thread in a namespace.
func (s *nsSearch) lives(netns uint64, pid, tid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.namespace(netns)
	n.Members = append(n.Members, pid) // sorted, each once, at the end
	leads, better := n.PID == n.Task, pid == tid
	if n.PID == 0 || better && !leads || better == leads && pid < n.PID {
		n.PID, n.Task = pid, tid
	}
}

func (s *nsSearch) namespace(inode uint64) *Namespace {
	n := s.found[inode]
	if n == nil {
		n = &Namespace{Inode: inode}
		s.found[inode] = n
	}
	return n
}

// readMounts reads the mounts of each mount namespace, that of the reader first: its paths need no detour.
func (s *nsSearch) readMounts() {
	own, _ := s.fs.nsInode(filepath.Join(s.fs.root, "self", "ns", "mnt"), "mnt")
	order := make([]uint64, 0, len(s.mounts))
	for ns := range s.mounts {
		order = append(order, ns)
	}
	slices.SortFunc(order, func(a, b uint64) int {
		if (a == own) != (b == own) {
			return map[bool]int{true: -1, false: 1}[a == own]
		}
		return cmp.Compare(s.mounts[a], s.mounts[b])
	})
	for _, ns := range order {
		if s.ctx.Err() != nil {
			return
		}
		root := s.fs.Path(s.mounts[ns], "root")
		if ns == own {
			root = ""
		}
		if err := s.mountsOf(s.mounts[ns], root); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.unread++
		}
	}
}

func (s *nsSearch) mountsOf(pid int, root string) error {
	file, err := os.Open(s.fs.Path(pid, "mountinfo"))
	if err != nil {
		return err
	}
	defer file.Close()
	return parseMountinfo(file, func(inode uint64, at string) {
		n := s.namespace(inode)
		if n.Path == "" {
			n.Path = root + at
		}
		if len(n.Mounts) < MaxMounts && !slices.Contains(n.Mounts, at) {
			n.Mounts = append(n.Mounts, at)
		}
	})
}

// result is what was found, in order. A process is the better way in: it tells as well what cannot be entered.
func (s *nsSearch) result() *Namespaces {
	r := &Namespaces{Denied: s.denied, Unread: s.unread}
	for _, n := range s.found {
		slices.Sort(n.Members)
		n.Members = slices.Compact(n.Members)
		if n.PID != 0 {
			n.Path = s.fs.Path(n.PID, "ns", "net")
			if n.Task != n.PID {
				n.Path = s.fs.Path(n.PID, "task", strconv.Itoa(n.Task), "ns", "net")
			}
		}
		r.List = append(r.List, *n)
	}
	slices.SortFunc(r.List, func(a, b Namespace) int { return cmp.Compare(a.Inode, b.Inode) })
	return r
}

// Bounds of a list of mounts.
const (
	mostMountLine = 64 << 10
	mostMounts    = 200_000
)

var errManyMounts = errors.New("mountinfo: too many mounts")

// parseMountinfo hands over the network namespaces that are mounted, from the lines of /proc/PID/mountinfo:
//
//	36 35 0:4 net:[4026532177] /run/netns/blue rw shared:1 - nsfs nsfs rw
//
// A blank in a path is \040. A line that is longer than mostMountLine is left out, and is an error in the end.
func parseMountinfo(r io.Reader, take func(inode uint64, at string)) error {
	b := bufio.NewReaderSize(r, mostMountLine)
	var long error
	for range mostMounts {
		line, err := b.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = errors.New("mountinfo: a line is too long")
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = b.ReadSlice('\n')
			}
			line = nil
		}
		if inode, at, ok := parseMount(line); ok {
			take(inode, at)
		}
		switch {
		case errors.Is(err, io.EOF):
			return long
		case err != nil:
			return err
		}
	}
	return errManyMounts
}

// parseMount reads one line; ok is false for what is no network namespace.
func parseMount(line []byte) (inode uint64, at string, ok bool) {
	if !bytes.Contains(line, []byte(" net:[")) { // nearly all others
		return 0, "", false
	}
	const root, point = 3, 4
	fields := strings.Fields(string(line))
	dash := slices.Index(fields, "-")
	if dash < point+1 || dash+1 >= len(fields) || fields[dash+1] != "nsfs" {
		return 0, "", false
	}
	inode, err := parseNs(fields[root], "net")
	at = unescapeMount(fields[point])
	return inode, at, err == nil && strings.HasPrefix(at, "/")
}

// unescapeMount undoes \ooo.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
