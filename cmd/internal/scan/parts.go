package scan

import (
	"context"
	"runtime"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// partsFrom is from how many sockets in a namespace two dumps side by side are worth their cut.
const partsFrom = 20_000

// Each lists what the request asks for, in one dump or in two halves side by side, each on a goroutine with a visitor of its own.
// A socket is valid during its visit. What came before an error stands, but is not whole.
func (s *Sockets) Each(ctx context.Context, r netlinkss.Request, visitor func() func(*netlinkss.Socket)) error {
	other, parts := s.parts(ctx, r)
	if other == nil {
		return visit(s.Dump(ctx, r), visitor())
	}
	defer other.Close()
	return s.beside(ctx, other, parts, visitor)
}

// beside lists two halves side by side.
func (s *Sockets) beside(ctx context.Context, other *netlinkss.Conn, parts [2]netlinkss.Request, visitor func() func(*netlinkss.Socket)) error {
	second := make(chan error, 1)
	f := visitor()
	go func() { second <- visit(other.Dump(ctx, parts[1]), f) }()
	err := visit(s.Dump(ctx, parts[0]), visitor())
	if more := <-second; err == nil || isIncomplete(err) && more != nil {
		err = more // of two, the one that is no mere gap
	}
	s.repeatsBeside += other.Repeats()
	return err
}

func visit(sockets func(func(*netlinkss.Socket, error) bool), f func(*netlinkss.Socket)) error {
	for sock, err := range sockets {
		if err != nil {
			return err
		}
		f(sock)
	}
	return nil
}

// parts cuts the request in two, and opens a connection for the second, where that is faster: each walks the whole table, so two
// take a fifth more of the processors' time, and two thirds of the user's if they have a processor each. It returns nil where one
// dump is better. More than two would rather be in each other's way.
func (s *Sockets) parts(ctx context.Context, r netlinkss.Request) (*netlinkss.Conn, [2]netlinkss.Request) {
	var parts [2]netlinkss.Request
	if s.Conn == nil || r.Ports != nil || r.Protocol != 0 || r.States != 0 && !r.States.Has(netlinkss.Estab) {
		return nil, parts
	}
	size := s.size(r)
	if size < partsFrom {
		return nil, parts
	}
	if !s.idleCore(time.Duration(size) * lookPerSocket) {
		s.source.Detail("one dump: no processor is idle")
		return nil, parts
	}
	sample, err := netlinkss.Dial(s.place.config())
	if err != nil {
		return nil, parts
	}
	low, high, ok, err := sample.Split(ctx, r)
	sample.Close()
	if err != nil || !ok {
		s.source.Detail("one dump: %s", whyOne(err))
		return nil, parts
	}
	other, err := netlinkss.Dial(s.place.config())
	if err != nil {
		return nil, parts
	}
	if !sameNetns(s.Conn, other) {
		other.Close()
		return nil, parts
	}
	s.source.Detail("two dumps side by side: %s", low.Part)
	return other, [2]netlinkss.Request{low, high}
}

// sameNetns reports whether two connections are of one namespace, as far as the kernel tells: the process whose file leads there may have
// ended since, and its number be another's.
func sameNetns(a, b *netlinkss.Conn) bool {
	first, err := a.NetnsCookie()
	second, err2 := b.NetnsCookie()
	return err != nil || err2 != nil || first == second
}

func whyOne(err error) string {
	if err != nil {
		return err.Error()
	}
	return "the sockets cannot be cut in halves by their ports"
}

// size is about how many sockets the request lists; 0 when another source than sock_diag lists them.
func (s *Sockets) size(r netlinkss.Request) int {
	if s.Conn == nil {
		return 0
	}
	st, err := s.source.sockstat(s.place)
	if err != nil {
		return 0
	}
	n := max(st.InUse, 0) + max(st.InUse6, 0)
	if r.States == 0 || r.States.Has(netlinkss.TimeWait) {
		n += max(st.TW, 0)
	}
	return n
}

// lookPerSocket is how long an idle processor is looked for, for each socket: a fiftieth of what the dump takes. What ran before this
// program is often at its end still.
const lookPerSocket = 20 * time.Nanosecond

// idleCore looks for so long whether a processor is idle beside those that this program uses. That threads wait or run in one moment
// means little, they come and go in milliseconds, least of all in the moment in which this program began; one that keeps a processor busy
// is there every time.
func (s *Sockets) idleCore(most time.Duration) bool {
	if runtime.GOMAXPROCS(0) < 2+s.besides {
		return false
	}
	for began := time.Now(); ; {
		running := s.source.FS.Running()
		if running >= 0 && running+s.besides < runtime.NumCPU() {
			return true
		}
		if running < 0 || time.Since(began) > most {
			return false
		}
	}
}
