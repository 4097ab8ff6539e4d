package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sockleak/sockleak/netlinkss"
)

// A dump is made in the byte order of the machine, as the kernel would write it here. Each line of its text is a number
// of sockets that are alike:
//
//	6 ESTAB 10.0.0.1:8080 10.0.0.7:40000+ accepted idle=3h inode=5010+ uid=1000   # a remark
//
// What ends in "+" is one more for each. The words are timer=NAME, expires=, idle= (a duration: the three clocks of
// tcp_info), accepted, connected (who opened it), recv-q=, send-q=, uid=, inode=, state=N (a number without a name),
// noinfo (without tcp_info).
func scriptDump(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkdump TEXT FILE")
	}
	var dump []byte
	cookie := uint64(0x1000)
	for i, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		words, err := splitWords(line)
		if err == nil && len(words) > 0 {
			dump, err = appendSockets(dump, words, &cookie)
		}
		if err != nil {
			ts.Fatalf("%s:%d: %v", args[0], i+1, err)
		}
	}
	dump = appendMessage(dump, 3, []byte{0, 0, 0, 0}) // NLMSG_DONE
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), dump, 0o666))
}

func appendSockets(dump []byte, words []string, cookie *uint64) ([]byte, error) {
	n, err := strconv.Atoi(words[0])
	if err != nil || len(words) < 4 {
		return nil, fmt.Errorf("want NUMBER STATE LOCAL PEER WORD…")
	}
	for i := range n {
		s, err := fixtureSocket(words[1:], i)
		if err != nil {
			return nil, err
		}
		*cookie++
		s.Cookie = *cookie
		dump = appendMessage(dump, 20, netlinkss.AppendEncode(nil, s)) // SOCK_DIAG_BY_FAMILY
	}
	return dump, nil
}

// appendMessage appends a netlink message of that type.
func appendMessage(dump []byte, typ uint16, payload []byte) []byte {
	dump = binary.NativeEndian.AppendUint32(dump, uint32(16+len(payload)))
	dump = binary.NativeEndian.AppendUint16(dump, typ)
	dump = append(dump, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0) // NLM_F_MULTI, sequence, port
	return append(dump, payload...)
}

// fixtureSocket is the i-th socket of a line: STATE LOCAL PEER WORD….
func fixtureSocket(words []string, i int) (*netlinkss.Socket, error) {
	states, err := netlinkss.ParseStates(words[0])
	if err != nil {
		return nil, err
	}
	s := &netlinkss.Socket{Family: netlinkss.Inet}
	for s.State = 1; s.State.Mask() != states; s.State++ {
	}
	if s.Local, err = fixtureAddr(words[1], i); err != nil {
		return nil, err
	}
	if s.Peer, err = fixtureAddr(words[2], i); err != nil {
		return nil, err
	}
	if s.Local.Addr().Is6() {
		s.Family = netlinkss.Inet6
	}
	if s.State != netlinkss.TimeWait && s.State != netlinkss.SynRecv && !slices.Contains(words, "noinfo") {
		s.SetInfo(make([]byte, 1<<10)) // as much as there are fields
	}
	s.Info.State = uint8(s.State)
	s.Info.BytesSent, s.Info.DataSegsOut = 1000, 10
	s.Info.BytesAcked, s.Info.DataSegsIn = 1000, 10
	p := socketParser{s: s, i: i}
	for _, w := range words[3:] {
		if err := p.word(w); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func fixtureAddr(s string, i int) (netip.AddrPort, error) {
	s, counts := strings.CutSuffix(s, "+")
	a, err := netip.ParseAddrPort(s)
	if err == nil && counts {
		a = netip.AddrPortFrom(a.Addr(), a.Port()+uint16(i))
	}
	return a, err
}

// socketParser reads the words of a line into a socket, and keeps the first error.
type socketParser struct {
	s   *netlinkss.Socket
	i   int
	err error
}

func (p *socketParser) word(w string) error {
	key, value, _ := strings.Cut(w, "=")
	s, info := p.s, &p.s.Info
	switch key {
	case "timer":
		for s.Timer = 0; s.Timer.String() != value; s.Timer++ {
			if s.Timer == 255 {
				return fmt.Errorf("unknown timer %q", value)
			}
		}
	case "expires":
		s.Expires = p.duration(value)
	case "idle":
		ms := uint32(p.duration(value).Milliseconds())
		info.LastDataSent, info.LastDataRecv, info.LastAckRecv = ms, ms, ms
	case "accepted", "noinfo":
	case "connected":
		info.BytesAcked++ // it counts the SYN
	case "recv-q":
		s.RecvQ = p.number(value)
	case "send-q":
		s.SendQ = p.number(value)
	case "uid":
		s.UID = p.number(value)
	case "inode":
		s.Inode = p.number(value)
	case "state":
		s.State = netlinkss.State(p.number(value))
	default:
		return fmt.Errorf("unknown word %q", w)
	}
	return p.err
}

func (p *socketParser) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if p.err == nil {
		p.err = err
	}
	return d
}

func (p *socketParser) number(s string) uint32 {
	s, counts := strings.CutSuffix(s, "+")
	n, err := strconv.ParseUint(s, 10, 32)
	if p.err == nil {
		p.err = err
	}
	if counts {
		n += uint64(p.i)
	}
	return uint32(n)
}

// splitWords cuts at spaces; a word may stand in Go's quotes, with its escapes; "#" begins a remark.
func splitWords(line string) (words []string, err error) {
	for {
		line = strings.TrimLeft(line, " \t")
		switch {
		case line == "" || line[0] == '#':
			return words, nil
		case line[0] == '"':
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("%w: %s", err, line)
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			words, line = append(words, word), line[len(quoted):]
		default:
			end := strings.IndexAny(line, " \t")
			if end < 0 {
				end = len(line)
			}
			words, line = append(words, line[:end]), line[end:]
		}
	}
}

// A proc filesystem is made of text, too:
//
//	uptime 864000                                 seconds
//	host build-7 6.18.0
//	sysctl net/ipv4/tcp_keepalive_time 7200
//	process 4242 node
//	    exe /usr/bin/node
//	    args node server.js
//	    uid 1000
//	    cgroup /system.slice/app.service
//	    limit 1024
//	    fd 0-2 /dev/null
//	    fd 10-15 socket:5010+
//
// A process was started 1000 s after boot and lives in network namespace 4026531840.
func scriptProc(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkproc TEXT DIR")
	}
	m := procMaker{root: ts.MkAbs(args[1])}
	m.link("self/ns/net", "net:[4026531840]")
	for i, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		words, err := splitWords(line)
		if err == nil && len(words) > 0 {
			err = m.line(words)
		}
		if err != nil {
			ts.Fatalf("%s:%d: %v", args[0], i+1, err)
		}
	}
}

type procMaker struct {
	root, pid string
	err       error
}

func (m *procMaker) path(name string) string {
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil && m.err == nil {
		m.err = err
	}
	return path
}

func (m *procMaker) file(name, content string) {
	if err := os.WriteFile(m.path(name), []byte(content), 0o666); err != nil && m.err == nil {
		m.err = err
	}
}

func (m *procMaker) link(name, target string) {
	if err := os.Symlink(target, m.path(name)); err != nil && m.err == nil {
		m.err = err
	}
}

func (m *procMaker) line(words []string) error {
	what, rest := words[0], words[1:]
	if least := map[string]int{"host": 2, "sysctl": 2, "process": 2, "fd": 2}; len(rest) < max(1, least[what]) {
		return fmt.Errorf("too few words after %q", what)
	}
	switch what {
	case "uptime":
		m.file("uptime", rest[0]+".00 1.00\n")
	case "host":
		m.file("sys/kernel/hostname", rest[0]+"\n")
		m.file("sys/kernel/osrelease", rest[1]+"\n")
	case "sysctl":
		m.file("sys/"+rest[0], strings.Join(rest[1:], "\t")+"\n")
	case "process":
		m.process(rest[0], rest[1])
	case "exe":
		m.link(m.pid+"/exe", rest[0])
	case "args":
		m.file(m.pid+"/cmdline", strings.Join(rest, "\x00")+"\x00")
	case "uid":
		m.file(m.pid+"/status", "Name:\tx\nUid:\t"+strings.Repeat(rest[0]+"\t", 3)+rest[0]+"\nGid:\t0\t0\t0\t0\n")
	case "inner": // its numbers in the namespaces below, after uid
		b, _ := os.ReadFile(m.path(m.pid + "/status"))
		m.file(m.pid+"/status", fmt.Sprintf("%sNSpid:\t%s\t%s\n", b, m.pid, strings.Join(rest, "\t")))
	case "cgroup":
		m.file(m.pid+"/cgroup", "0::"+rest[0]+"\n")
	case "limit":
		m.file(m.pid+"/limits", fmt.Sprintf("%-26s%-21s%-21s%-10s\n%-26s%-21s%-21s%-10s\n",
			"Limit", "Soft Limit", "Hard Limit", "Units", "Max open files", rest[0], "1048576", "files"))
	case "fd":
		return m.descriptors(rest[0], rest[1])
	default:
		return fmt.Errorf("unknown word %q", what)
	}
	return m.err
}

// process begins one that has nothing but its numbers.
func (m *procMaker) process(pid, comm string) {
	m.pid = pid
	zeros := strings.TrimSpace(strings.Repeat("0 ", 30))
	m.file(pid+"/stat", fmt.Sprintf("%s (%s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100000 0 0 %s\n", pid, comm, zeros))
	m.file(pid+"/comm", comm+"\n")
	m.link(pid+"/ns/net", "net:[4026531840]")
	m.path(pid + "/fd/0")
}

// descriptors makes "10-15 socket:5010+", which ends in the inode.
func (m *procMaker) descriptors(fds, target string) error {
	first, last, isRange := strings.Cut(fds, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	to, err := strconv.Atoi(last)
	if err != nil {
		return err
	}
	for fd := from; fd <= to; fd++ {
		link := target
		if inode, ok := strings.CutPrefix(target, "socket:"); ok {
			p := socketParser{i: fd - from}
			link = fmt.Sprintf("socket:[%d]", p.number(inode))
			if p.err != nil {
				return p.err
			}
		}
		m.link(m.pid+"/fd/"+strconv.Itoa(fd), link)
	}
	return m.err
}
