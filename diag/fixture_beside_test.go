package diag

import (
	"strings"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// beside reads what a look learns of a socket beside the dump; nil for nothing.
func (p *fixtureParser) beside(words []string) func(*HeldSocket) {
	var all []func(*HeldSocket)
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "watch":
			watch, ok := map[string]procfd.Watch{"watched": procfd.Watched, "abandoned": procfd.Abandoned}[value]
			if !ok {
				p.fail("want watched or abandoned, not %q", value)
			}
			all = append(all, func(h *HeldSocket) { h.Watch = watch })
		case "end":
			all = append(all, p.end(value))
		case "tickets":
			all = append(all, func(h *HeldSocket) { h.Tickets = true })
		case "cloexec":
			flag, ok := map[string]Flag{"on": FlagOn, "off": FlagOff}[value]
			if !ok {
				p.fail("want on or off, not %q", value)
			}
			all = append(all, func(h *HeldSocket) { h.CloseOnExec = flag })
		case "options":
			o := p.options(value)
			all = append(all, func(h *HeldSocket) { h.Options = o })
		}
	}
	if all == nil {
		return nil
	}
	return func(h *HeldSocket) {
		for _, f := range all {
			f(h)
		}
	}
}

// end reads HOLDER[,unread=N][,read=N][,state=STATE], the holder as name[pid]:fd or nobody; unseen for one who was not found.
func (p *fixtureParser) end(value string) func(*HeldSocket) {
	parts := strings.Split(value, ",")
	var holders []Holder
	if parts[0] != "nobody" && parts[0] != "unseen" {
		name, rest, _ := strings.Cut(parts[0], "[")
		pid, fd, ok := strings.Cut(rest, "]:")
		if !ok {
			p.fail("want NAME[PID]:FD or nobody, not %q", parts[0])
		}
		holders = []Holder{{Name: name, PID: p.number(pid), FD: p.number(fd)}}
	}
	end := netlinkss.Socket{State: netlinkss.Estab}
	if parts[0] == "unseen" {
		end.Inode = 1
	}
	info := withTraffic(netlinkss.TCPInfo{}, false)
	for _, part := range parts[1:] {
		switch key, n, _ := strings.Cut(part, "="); key {
		case "unread":
			end.RecvQ = uint32(p.number(n))
		case "state":
			end.State = p.state(n)
		case "read":
			info.BytesReceived = uint64(p.number(n))
		default:
			p.fail("unknown word %q", part)
		}
	}
	info.BytesReceived += uint64(end.RecvQ)
	setInfo(&end, info, wholeInfo)
	return func(h *HeldSocket) {
		end.Local, end.Peer = h.Peer, h.Local
		h.End = &End{Socket: &end, Holders: holders}
	}
}

func (p *fixtureParser) options(value string) *Options {
	o := &Options{Linger: -1}
	if value == "" {
		return o
	}
	for _, part := range strings.Split(value, ",") {
		key, d, _ := strings.Cut(part, ":")
		switch key {
		case "rcvtimeo":
			o.ReceiveTimeout = p.duration(d)
		case "sndtimeo":
			o.SendTimeout = p.duration(d)
		case "user":
			o.UserTimeout = p.duration(d)
		case "keepidle":
			o.KeepAlive, o.KeepIdle = true, p.duration(d)
		default:
			p.fail("unknown option %q", key)
		}
	}
	return o
}
