package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Source opens lists of sockets.
type Source struct {
	Kind string // auto, diag, bpf, proc
	From string // a file, "" for the kernel
	FS   *procfd.FS
	// SiftFrom is from how many descriptors on only those sockets are kept of which there may be something to say; 0: [manyDescriptors].
	SiftFrom int
	// Detail takes what is told with -v. Several goroutines call it.
	Detail func(format string, args ...any)

	iterators   iterators        // nil: not used
	owners      inodesOf         // nil: not used
	noIterators bool             // they could not be loaded
	runtimes    *procfd.Runtimes // see [Source.containers]
	asked       sync.Once
	refused     error // what sock_diag answers to every request; nil: it lists sockets
}

// Sockets is an open list of one network namespace's sockets.
type Sockets struct {
	Name string
	// Dump lists what the request asks for. A source that cannot filter lists more.
	Dump func(context.Context, netlinkss.Request) iter.Seq2[*netlinkss.Socket, error]
	Conn *netlinkss.Conn // nil but for sock_diag
	Gaps []diag.Gap
	// After is what was missed of the list since it was asked for, for a count by that; nil: nothing ever.
	After func(diag.GroupBy) []diag.Gap

	sample *record.Sample // of a recording; nil for all others
	source *Source
	place  Place
	// Of sockets that were listed twice: those of other connections, and how many of all are told already.
	repeatsBeside, repeatsTold int
	besides                    int // how many other processors this program keeps busy meanwhile
}

// sockDiag is the name of that source.
const sockDiag = "sock_diag"

// Place is a network namespace and the ways to it. The zero value is the reader's own.
type Place struct {
	Netns uint64 // inode, 0 when it is not known
	Path  string // of its file, "" for the reader's own
	PID   int    // of a process that lives in it, 0 for the reader, or when nobody does
}

func (s *Source) siftFrom() int { return cmp.Or(s.SiftFrom, manyDescriptors) }

// Close closes the list.
func (s *Sockets) Close() {
	if s.Conn != nil {
		s.Conn.Close()
	}
}

// Open opens the sockets of a namespace. For the zero value it is that of the host whose proc filesystem is read.
func (s *Source) Open(at Place) (*Sockets, error) {
	if at.Path == "" && at.PID == 0 {
		at = s.hostNetns()
	}
	need := ""
	if s.FS.Foreign() && at.Path != "" && at == s.hostNetns() {
		need = ": the host's is entered with CAP_SYS_ADMIN and CAP_SYS_PTRACE, and needs not be with --net=host"
	}
	switch {
	case s.From != "":
		return s.openFile()
	case s.Kind == "proc":
		return s.openProc(at, "not asked, because of --source proc")
	}
	conn, err := netlinkss.Dial(at.config())
	if err == nil && s.Kind != "diag" {
		if err = s.answers(conn); err != nil {
			conn.Close()
		}
	}
	if err == nil {
		s.Detail("sockets from sock_diag of %s", netnsName(at.Path))
		list := &Sockets{Name: sockDiag, Conn: conn, Dump: conn.Dump, source: s, place: at}
		list.After = func(diag.GroupBy) []diag.Gap { return list.passedOver() }
		return list, nil
	}
	if errors.Is(err, netlinkss.ErrNotNetns) {
		return nil, err
	}
	if s.Kind == "diag" {
		return nil, hint.Add(err, "--source auto falls back to /proc/net/tcp")
	}
	if need != "" {
		return s.openProc(at, err.Error()+need)
	}
	return s.openProc(at, s.notEntered(at.Path, err))
}

// answers asks sock_diag for a listener, of which there are few, once for all namespaces: it may be forbidden to ask where it is not to
// open the socket, and the kernel may lack the part that answers for TCP. The error is that of every request.
func (s *Source) answers(conn *netlinkss.Conn) error {
	s.asked.Do(func() {
		for _, err := range conn.Dump(context.Background(), netlinkss.Request{States: netlinkss.Listen.Mask()}) {
			if isForGood(err) {
				s.refused = err
			}
			break
		}
	})
	return s.refused
}

// isForGood tells a refusal from what may be over with the next request.
func isForGood(err error) bool {
	for _, e := range []error{netlinkss.ErrNotSupported, fs.ErrPermission, syscall.ENOSYS, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.EOPNOTSUPP} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (p Place) config() *netlinkss.Config { return &netlinkss.Config{Netns: p.Path, Inode: p.Netns} }

func netnsName(path string) string {
	if path == "" {
		return "this network namespace"
	}
	return path
}

// passedOver is a gap where the kernel has repeated sockets since it was asked last: it repeats some for the same reason for which it passes
// others over, and of those nothing tells.
func (s *Sockets) passedOver() []diag.Gap {
	all := s.Conn.Repeats() + s.repeatsBeside
	n := all - s.repeatsTold
	s.repeatsTold = all
	if n == 0 {
		return nil
	}
	return []diag.Gap{{
		What: "sockets that the kernel passed over", Minor: true,
		Why: fmt.Sprintf("%s twice (and counted once), so about as many may be missing: they come and go faster than its table is read", wereListed(n)),
	}}
}

func wereListed(n int) string {
	if n == 1 {
		return "one was listed"
	}
	return fmt.Sprintf("%d were listed", n)
}

// errNobody: only who lives in a namespace has files that show it to others.
var errNobody = errors.New("no process lives in that network namespace, so there is no /proc/PID/net/tcp of it")

// openProc reads /proc/net/tcp and tcp6, and says what that lacks and why.
func (s *Source) openProc(at Place, why string) (*Sockets, error) {
	pid := at.PID
	if at.Path != "" && pid == 0 {
		return nil, fmt.Errorf("sock_diag: %s; %w", why, errNobody)
	}
	files := []struct {
		family netlinkss.Family
		path   string
	}{{netlinkss.Inet, s.FS.NetPath(pid, "tcp")}, {netlinkss.Inet6, s.FS.NetPath(pid, "tcp6")}}
	f, err := os.Open(files[0].path)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %s; and %w", why, err)
	}
	f.Close()
	if now, err := s.FS.NetnsOf(pid); pid != 0 && at.Netns != 0 && err == nil && now != at.Netns {
		return nil, fmt.Errorf("sock_diag: %s; process %d: %w", why, pid, procfd.ErrGone)
	}
	s.Detail("sockets from %s", files[0].path)
	var timerless atomic.Int64 // in the dump that had the most of them
	dump := func(_ context.Context, r netlinkss.Request) iter.Seq2[*netlinkss.Socket, error] {
		return func(yield func(*netlinkss.Socket, error) bool) {
			left, rows, n := s.mostRows(pid), &recentRows{seed: maphash.MakeSeed()}, int64(0)
			defer func() { timerless.Store(max(timerless.Load(), n)) }()
			for _, file := range files {
				more := procFile(file.path, file.family, r, func(sock *netlinkss.Socket, err error) bool {
					if err == nil && rows.has(sock) {
						return true
					}
					if left--; left < 0 && err == nil {
						yield(nil, fmt.Errorf("%s: %w: it grows as fast as it is read", file.path, netlinkss.ErrInterrupted))
						return false
					}
					if err == nil && sock.Timer == netlinkss.TimerUnknown {
						n++
					}
					return yield(sock, err)
				})
				if !more {
					return
				}
			}
		}
	}
	after := func(diag.GroupBy) (gaps []diag.Gap) {
		if n := timerless.Swap(0); n > 0 {
			gaps = append(gaps, diag.Gap{What: netlinkss.LossTimers, Count: int(n), Why: netlinkss.WhyNoTimers})
		}
		return gaps
	}
	return &Sockets{Name: "/proc/net/tcp", Dump: dump, After: after, source: s, place: at, Gaps: []diag.Gap{{
		What: "TCP_INFO", Why: fmt.Sprintf("sockets were read from /proc/net/tcp, which has %s (sock_diag: %s)", netlinkss.ProcNetLosses, why),
	}}}, nil
}

// recentRows are the last rows of /proc/net/tcp: under churn the kernel repeats some, and they have no cookies.
type recentRows struct {
	seed   maphash.Seed
	hashes [1024]uint64
}

// has reports whether a row was seen shortly before, and notes it.
func (r *recentRows) has(s *netlinkss.Socket) bool {
	type row struct {
		local, peer netip.AddrPort
		inode       uint32
	}
	hash := maphash.Comparable(r.seed, row{s.Local, s.Peer, s.Inode})
	at := &r.hashes[hash%uint64(len(r.hashes))]
	same := *at == hash
	*at = hash
	return same
}

// mostRows bounds a read of /proc/net/tcp: the kernel finds its place again by counting, so while sockets come and go faster
// than they are read, the end moves away.
func (s *Source) mostRows(pid int) int {
	const enough = 100_000
	st, err := s.FS.Sockstat(pid)
	if err != nil {
		return 100 * enough
	}
	return enough + 2*(max(st.InUse, 0)+max(st.InUse6, 0)+max(st.TW, 0)+max(st.Orphan, 0))
}

// procFile yields one file, and reports whether to go on. A kernel without IPv6 has no tcp6.
func procFile(path string, family netlinkss.Family, r netlinkss.Request, yield func(*netlinkss.Socket, error) bool) bool {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && family == netlinkss.Inet6 {
		return true
	}
	if err != nil {
		yield(nil, err)
		return false
	}
	defer f.Close()
	for sock, err := range netlinkss.ReadProcNet(f, family) {
		if err != nil {
			yield(nil, err)
			return false
		}
		if r.States != 0 && !r.States.Has(sock.State) {
			continue
		}
		if !yield(sock, nil) {
			return false
		}
	}
	return true
}
