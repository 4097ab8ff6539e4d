package netlinkss

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// Both of the kernel's lists say the same of a socket, as far as /proc/net/tcp says anything.
func TestKernelProcNet(t *testing.T) {
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		xs := hashed(l.specimens(t))
		untilAll(t, xs, func() (func(int) error, error) {
			lines, err := surveyProcNet(l, xs)
			if err != nil {
				return nil, err
			}
			records, err := survey(c.Dump(background, Request{}), xs)
			return func(i int) error {
				if lines[i] == nil || records[i] == nil {
					return errAbsent
				}
				if err := xs[i].check(lines[i]); err != nil {
					return fmt.Errorf("/proc/net: %w", err)
				}
				return xs[i].sameAs(lines[i], records[i])
			}, err
		})
	})
}

// hashed leaves out what is in the bind table alone: /proc/net/tcp does not list it.
func hashed(xs []specimen) []specimen {
	return slices.DeleteFunc(xs, func(x specimen) bool { return x.filter == BoundInactive })
}

// surveyProcNet finds the specimens by their addresses: the file has no cookies.
func surveyProcNet(l loopback, xs []specimen) ([]*Socket, error) {
	name := "/proc/self/net/tcp"
	if l.family == Inet6 {
		name = "/proc/self/net/tcp6"
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	nameless := slices.Clone(xs)
	for i := range nameless {
		nameless[i].cookie = 0
	}
	return survey(ReadProcNet(f, l.family), nameless)
}

// sameAs compares a line with a record. A line has the backlog of a listener nowhere, and the
// listener's uid for a request.
func (x specimen) sameAs(there, here *Socket) error {
	want := *here
	want.Cookie, want.present, want.SockOpt, want.Mark, want.CgroupID = 0, 0, 0, 0, 0
	want.Shutdown, want.V6Only, want.Protocol, want.TOS, want.TClass, want.ClassID = 0, 0, 0, 0, 0, 0
	want.Expires = there.Expires // moves
	if x.state == Listen {
		want.SendQ = 0
	}
	if x.mini {
		want.UID = there.UID
	}
	if *there != want {
		return fmt.Errorf("/proc/net   %s\nsock_diag %s", text(there), text(&want))
	}
	return nil
}
