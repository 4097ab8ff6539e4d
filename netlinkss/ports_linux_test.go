package netlinkss

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// bytecode takes the filter out of a request: the attribute behind the fixed part.
func bytecode(t *testing.T, req []byte, fixed int) []byte {
	t.Helper()
	b := req[sizeofNlmsghdr+fixed:]
	for len(b) >= sizeofNlattr {
		size := int(native.Uint16(b))
		if native.Uint16(b[2:]) == 1 { // INET_DIAG_REQ_BYTECODE
			return b[sizeofNlattr:size]
		}
		b = b[size:]
	}
	t.Fatalf("no filter in %x", req)
	return nil
}

// runBytecode is the kernel's inet_diag_bc_run, for the operations that are used.
func runBytecode(t *testing.T, b []byte, sport, dport uint16) bool {
	t.Helper()
	for len(b) > 0 {
		code, next := b[0], int(b[1])
		no := int(native.Uint16(b[2:]))
		switch code {
		case 1: // JMP
			next = no
		case 11, 12: // S_EQ, D_EQ
			port := sport
			if code == 12 {
				port = dport
			}
			if port != native.Uint16(b[6:]) {
				next = no
			}
		case 2, 3, 4, 5: // S_GE, S_LE, D_GE, D_LE
			port, than := sport, native.Uint16(b[6:])
			if code > 3 {
				port = dport
			}
			if code%2 == 0 && port < than || code%2 == 1 && port > than {
				next = no
			}
		default:
			t.Fatalf("operation %d", code)
		}
		if next > len(b) {
			return false
		}
		b = b[next:]
	}
	return true
}

// auditBytecode is the kernel's inet_diag_bc_audit: what it refuses with EINVAL.
func auditBytecode(b []byte) error {
	onPath := map[int]bool{0: true} // bytes left, along the yeses
	for left := len(b); left > 0; left -= max(int(b[len(b)-left+1]), 1) {
		onPath[left] = true
	}
	for left := len(b); left > 0; {
		op := b[len(b)-left:]
		least := map[byte]int{1: 4, 2: 8, 3: 8, 4: 8, 5: 8, 11: 8, 12: 8}[op[0]]
		yes, no := int(op[1]), int(native.Uint16(op[2:]))
		switch {
		case least == 0 || left < least:
			return fmt.Errorf("operation %d with %d bytes left", op[0], left)
		case no < least || no > left+4 || no%4 != 0:
			return fmt.Errorf("no: %d with %d bytes left", no, left)
		case no < left && !onPath[left-no]:
			return fmt.Errorf("no: %d leads off the path of the yeses", no)
		case yes < least || yes > left || yes%4 != 0:
			return fmt.Errorf("yes: %d with %d bytes left", yes, left)
		}
		left -= yes
	}
	return nil
}

func TestRequestPorts(t *testing.T) {
	many := make([]uint16, MaxPorts+10)
	for i := range many {
		many[i] = uint16(1000 + i)
	}
	for _, ports := range [][]uint16{{80}, {80, 443}, {0, 65535, 1}, {7, 7}, many[:MaxPorts], many} {
		r := Request{Ports: ports}
		listed := ports[:min(len(ports), MaxPorts)]
		for name, code := range map[string][]byte{
			"legacy":    bytecode(t, r.legacy(1), 60),
			"by family": bytecode(t, r.byFamily(1, Inet), 56),
			"mptcp":     bytecode(t, Request{Ports: ports, Protocol: ProtocolMPTCP}.byFamily(1, Inet), 56),
		} {
			if err := auditBytecode(code); err != nil {
				t.Errorf("%s, %d ports: the kernel refuses it: %v", name, len(ports), err)
			}
			for _, p := range append([]uint16{2, 79, 81, 8080, 65534}, ports...) {
				want := slices.Contains(listed, p)
				if runBytecode(t, code, p, 3) != want || runBytecode(t, code, 3, p) != want {
					t.Errorf("%s, ports %v: %d matches is %v", name, ports, p, !want)
				}
			}
		}
	}
}

// A kernel that cannot compare ports lists everything.
func TestDumpPortsRefused(t *testing.T) {
	withPorts, without := 76+4+20, 76
	t.Run("ports alone", func(t *testing.T) {
		c, k := newFake(t, fails(unix.EINVAL), datagrams(records(1), done))
		got, err := inodes(c, Request{Ports: []uint16{80}})
		wantInodes(t, got, err, 1)
		k.wantTypes([2]int{18, 0}, [2]int{18, 0})
		if len(k.sent[0]) != withPorts || len(k.sent[1]) != without {
			t.Errorf("requests of %d and %d bytes, want %d and %d", len(k.sent[0]), len(k.sent[1]), withPorts, without)
		}
	})
	t.Run("the legacy message too", func(t *testing.T) {
		c, k := newFake(t, fails(unix.EINVAL), fails(unix.EINVAL), datagrams(records(1), done), datagrams(records(2), done))
		got, err := inodes(c, Request{Ports: []uint16{80}})
		wantInodes(t, got, err, 1, 2)
		k.wantTypes([2]int{18, 0}, [2]int{18, 0}, [2]int{20, 2}, [2]int{20, 10})
	})
	t.Run("a failure is no refusal", func(t *testing.T) {
		c, k := newFake(t, fails(unix.EPERM))
		got, err := inodes(c, Request{Ports: []uint16{80}})
		wantRefused(t, got, err, unix.EPERM, nil)
		k.wantTypes([2]int{18, 0})
	})
}

func TestKernelPorts(t *testing.T) {
	if kernelBefore(t, 5, 9) {
		t.Skip("Linux 5.9 was the first to compare ports for equality")
	}
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		xs := l.specimens(t)
		for _, some := range [][]specimen{xs[:1], xs[5:9], xs} {
			for _, f := range []Family{0, l.family} {
				checkPorts(t, c, Request{Family: f, States: everyState, Ports: portsOf(some)}, some)
			}
		}
	})
}

func portsOf(xs []specimen) (ports []uint16) {
	for _, x := range xs {
		ports = append(ports, x.local.Port())
	}
	return ports
}

// checkPorts wants all the specimens, and no socket with neither of its ports asked for.
func checkPorts(t *testing.T, c *Conn, r Request, xs []specimen) {
	t.Helper()
	untilAll(t, xs, func() (func(int) error, error) {
		found, err := survey(c.Dump(background, r), xs)
		return func(i int) error {
			if found[i] == nil {
				return errAbsent
			}
			return nil
		}, err
	})
	for s, err := range c.Dump(background, r) {
		must(t, err)
		if !slices.Contains(r.Ports, s.Local.Port()) && !slices.Contains(r.Ports, s.Peer.Port()) {
			t.Errorf("asked for ports %v, got %s", r.Ports, text(s))
		}
	}
}
