//go:build linux

package pipe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A target that cannot be reached is passed over for minDown, and for twice as long after each failure that follows,
// at most for maxDown.
const (
	minDown = time.Second
	maxDown = 30 * time.Second
)

// lookupFor is how long the addresses of a name are good for.
const lookupFor = 5 * time.Second

// A target is one place that connections go to.
type target struct {
	name string // as in Config.Targets

	unix bool // path is set, and nothing else
	path string

	host  string
	port  int
	fixed []netip.Addr // what host stands for, if it is no name

	ephemeral bool // the port is one that the kernel may give to the connect itself

	active, connected, failures atomic.Uint64

	mu     sync.Mutex
	found  []netip.Addr // of the last lookup
	until  time.Time    // found is good
	streak int          // failures since the last success
	down   time.Time    // passed over until then
	trying bool         // one connection was let through meanwhile
}

// newTarget reads one of Config.Targets.
func newTarget(s string) (*target, error) {
	t := &target{name: s}
	if path, ok := unixPath(s); ok {
		t.unix, t.path = true, path
		if n := len(path); n == 0 || n >= unixPathMax {
			return nil, fmt.Errorf("target %q: want a path of 1 to %d bytes", s, unixPathMax-1)
		}
		return t, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, fmt.Errorf("target %q: want host:port or unix:path: %w", s, err)
	}
	if t.port, err = net.LookupPort("tcp", port); err != nil {
		return nil, fmt.Errorf("target %q: %w", s, err)
	}
	if t.port == 0 {
		return nil, fmt.Errorf("target %q: no port", s)
	}
	t.host, t.ephemeral = host, t.port >= 1024
	if host == "" {
		t.fixed = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	} else if a, err := netip.ParseAddr(host); err == nil {
		t.fixed = []netip.Addr{a}
	}
	return t, nil
}

// unixPathMax is the size of sun_path in struct sockaddr_un.
const unixPathMax = 108

// addrs returns the addresses of t that are known at now. The second value is false if they must be looked up.
func (t *target) addrs(now time.Time) ([]netip.Addr, bool) {
	if t.fixed != nil || t.unix {
		return t.fixed, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found, now.Before(t.until)
}

// lookup asks the resolver. The order is its own: RFC 6724's.
func (t *target) lookup(ctx context.Context) error {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", t.host)
	if err != nil {
		return err
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found, t.until = found, time.Now().Add(lookupFor)
	return nil
}

// succeeded notes that t was reached, and reports whether it had been down.
func (t *target) succeeded() bool {
	t.connected.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.streak > 0
	t.streak, t.down, t.trying = 0, time.Time{}, false
	return was
}

// failed notes that t was not reached, and returns for how long it is passed over; 0 if it is down already and this
// is just another of the attempts that were under way.
func (t *target) failed(now time.Time) time.Duration {
	t.failures.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.down) && !t.trying {
		return 0
	}
	t.trying = false
	d := min(minDown<<min(t.streak, 10), maxDown)
	t.streak++
	t.down = now.Add(d)
	return d
}

// isDown reports whether t is passed over at now.
func (t *target) isDown(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.streak > 0 && now.Before(t.down)
}

// admit reports whether t is to be tried at now. When the time of one that is down is over, the one who asks first is
// let through, and the others have minDown more to wait for what comes of that.
func (t *target) admit(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.streak == 0:
		return true
	case now.Before(t.down):
		return false
	}
	t.trying, t.down = true, now.Add(minDown)
	return true
}

func (t *target) stats(now time.Time) TargetStats {
	return TargetStats{
		Target: t.name, Active: t.active.Load(), Connected: t.connected.Load(), Failures: t.failures.Load(), Down: t.isDown(now),
	}
}

// order fills list with the targets in the order in which the next connection tries them: round and round, those that
// are down last.
func (p *Proxy) order(list []*target, now time.Time) []*target {
	list = list[:0]
	n := uint64(len(p.targets))
	first := p.turn.Add(1) - 1
	if n == 1 {
		return append(list, p.targets[0])
	}
	for i := range n {
		// The first of the list is the one that is tried for sure, so only for that one's sake another is admitted.
		t := p.targets[(first+i)%n]
		if len(list) == 0 && t.admit(now) || len(list) > 0 && !t.isDown(now) {
			list = append(list, t)
		}
	}
	for i := range n {
		if t := p.targets[(first+i)%n]; !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// A sockaddr is room for the address of one connect, which else would be allocated for each.
type sockaddr struct {
	v4 unix.SockaddrInet4
	v6 unix.SockaddrInet6
	un unix.SockaddrUnix
}

// unixAddr returns the address of a unix socket, with its family.
func (s *sockaddr) unixAddr(path string) (unix.Sockaddr, int) {
	s.un.Name = path
	return &s.un, unix.AF_UNIX
}

// ip returns the address of a TCP socket, with its family.
func (s *sockaddr) ip(a netip.Addr, port int) (unix.Sockaddr, int) {
	if a.Is4() || a.Is4In6() {
		s.v4.Addr, s.v4.Port = a.Unmap().As4(), port
		return &s.v4, unix.AF_INET
	}
	s.v6.Addr, s.v6.Port, s.v6.ZoneId = a.As16(), port, zoneID(a.Zone())
	return &s.v6, unix.AF_INET6
}

func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	var id uint32
	if _, err := fmt.Sscan(zone, &id); err != nil {
		return 0
	}
	return id
}
