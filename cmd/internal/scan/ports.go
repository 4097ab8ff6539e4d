package scan

import (
	"slices"

	"github.com/sockleak/sockleak/procfd"
)

// When a port filter is worth its sampling.
const (
	filterFrom  = 20_000 // sockets in the namespace
	filterShare = 2      // times what the process holds at the most
	samples     = 64
	mostPorts   = 8
)

// ports are those that nearly all sockets of the process have on one side: the port that a server listens
// on, those of the services that a client is connected to. A dump that the kernel filters by them costs a fifth for
// each socket of others. They are told from a few descriptors; what has another port is not lost, it is looked up
// one by one. None: list everything, because there is not much more, or because it may not be told.
func (l *look) ports(p *procfd.Process) []uint16 {
	if l.list.Conn == nil || !since(l.host.Kernel, 5, 9) { // older ones cannot compare ports, and list all
		return nil
	}
	open := l.Source.FS.CountDescriptors(p.PID)
	stat, err := l.Source.FS.Sockstat(p.PID)
	all := max(stat.InUse, 0) + max(stat.InUse6, 0) + max(stat.TW, 0)
	if err != nil || open == 0 || stat.TW < 0 || all < filterFrom || all < filterShare*open {
		return nil
	}
	ports := l.samplePorts(p, open)
	if len(ports) > 0 {
		l.Source.Detail("asking the kernel for sockets on ports %v only: process %d has up to %d of %d", ports, p.PID, open, all)
		l.space.TimeWait, l.space.TimeWaitSource = stat.TW, "/proc/net/sockstat"
	}
	return ports
}

// samplePorts looks at descriptors all over the table, at every one of a small table.
func (l *look) samplePorts(p *procfd.Process, open int) []uint16 {
	asker, err := l.Source.FS.Ask(p)
	if err != nil {
		return nil
	}
	defer asker.Close()
	var seen [][2]uint16
	step := max(open/samples, 1)
	for fd := step / 2; fd < open && len(seen) < samples; fd += step {
		sock, ok := procfd.SocketFD{FD: fd}, false
		if sock.Inode, ok = l.Source.FS.SocketInode(p, sock); !ok {
			continue
		}
		a, err := asker.Socket(sock)
		switch {
		case err != nil || !a.IsTCP() || a.Local.Port() == 0:
		case a.Peer.IsValid():
			seen = append(seen, [2]uint16{a.Local.Port(), a.Peer.Port()})
		case step == 1: // it listens, as a rule
			seen = append(seen, [2]uint16{a.Local.Port(), a.Local.Port()})
		}
	}
	if step > 1 {
		return coverPorts(seen)
	}
	if len(seen) == 0 {
		return []uint16{0} // nobody's: what it opens now is looked up by itself
	}
	return cover(seen, 0, 1)
}

// coverPorts picks the ports that cover the samples, the most frequent first; nil when a few ports do not
// cover nearly all of them.
func coverPorts(seen [][2]uint16) []uint16 {
	if len(seen) < samples/4 {
		return nil
	}
	return cover(seen, len(seen)/32, 2)
}

// cover picks ports until no more than allowed of the pairs have none of them; nil when that takes too many, or one that stands for fewer
// than least pairs.
func cover(seen [][2]uint16, allowed, least int) (ports []uint16) {
	for len(seen) > allowed {
		count := map[uint16]int{}
		var best uint16
		for _, s := range seen {
			count[s[0]]++
			if s[1] != s[0] {
				count[s[1]]++
			}
		}
		for port, n := range count {
			if n > count[best] || n == count[best] && port < best {
				best = port
			}
		}
		if count[best] < least || len(ports) == mostPorts {
			return nil
		}
		ports = append(ports, best)
		seen = slices.DeleteFunc(seen, func(s [2]uint16) bool { return s[0] == best || s[1] == best })
	}
	return ports
}
