package netlinkss

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// textAddr is an address as a text has it.
type textAddr struct {
	addr    netip.AddrPort // not valid when it is not known
	any     bool           // *: whatever family that is
	bare    bool           // IPv6 without brackets
	bracket bool
	device  []byte // what it is bound to, without the %
}

// parseAddr reads HOST:PORT as ss and netstat print it. ok is false for what neither prints; a name is an address that is not known.
func parseAddr(b []byte) (a textAddr, ok bool) {
	colon := bytes.LastIndexByte(b, ':')
	if colon <= 0 || colon == len(b)-1 {
		return a, false
	}
	host, port := b[:colon], b[colon+1:]
	if host, a.device, ok = cutDevice(host); !ok {
		return a, false
	}
	n, numeric := parsePort(port)
	if !numeric && !isName(port) {
		return a, false
	}
	if a.any = string(host) == "*"; a.any {
		a.addr = netip.AddrPortFrom(netip.IPv6Unspecified(), n)
	} else {
		ip, named := a.host(host)
		if !ip.IsValid() && !named {
			return a, false
		}
		a.addr = netip.AddrPortFrom(ip, n)
	}
	if !numeric || !a.addr.Addr().IsValid() {
		a.addr = netip.AddrPort{}
	}
	return a, true
}

// cutDevice takes %eth0 off, which stands behind the address or inside of its brackets.
func cutDevice(host []byte) (bare, device []byte, ok bool) {
	bare, device, ok = bytes.Cut(host, []byte("%"))
	if !ok {
		return host, nil, true
	}
	if inside, found := bytes.CutSuffix(device, []byte("]")); found {
		// [fe80::1%eth0] has lost its bracket: it is bare from here on, as far as its host goes.
		device = inside
		bare = bytes.TrimPrefix(bare, []byte("["))
	}
	return bare, device, len(bare) > 0 && len(device) > 0
}

func parsePort(b []byte) (port uint16, ok bool) {
	if string(b) == "*" {
		return 0, true
	}
	n, ok := number(b, most16)
	return uint16(n), ok
}

// host reads an address without its port; named when it is none, but could be a host's name.
func (a *textAddr) host(b []byte) (ip netip.Addr, named bool) {
	if inside, found := bytes.CutPrefix(b, []byte("[")); found {
		b, a.bracket = bytes.CutSuffix(inside, []byte("]"))
		if !a.bracket {
			return ip, false
		}
	}
	if ip, ok := parseIPv4(b); ok {
		return ip, false
	}
	if bytes.IndexByte(b, ':') < 0 {
		return ip, !a.bracket && isName(b)
	}
	// ParseAddr keeps no part of what it reads but a zone, and there is none.
	ip, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b)))
	if err != nil {
		return netip.Addr{}, false
	}
	a.bare = !a.bracket
	return ip, false
}

// parseIPv4 reads four numbers with dots between.
func parseIPv4(b []byte) (netip.Addr, bool) {
	var ip [4]byte
	for i := range ip {
		part := b
		if i < 3 {
			dot := bytes.IndexByte(b, '.')
			if dot < 0 {
				return netip.Addr{}, false
			}
			part, b = b[:dot], b[dot+1:]
		}
		n, ok := number(part, most8)
		if !ok || len(part) > 3 {
			return netip.Addr{}, false
		}
		ip[i] = byte(n)
	}
	return netip.AddrFrom4(ip), true
}

// isName: it may be a host's or a service's name.
func isName(b []byte) bool {
	letter := false
	for _, c := range b {
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c == '_':
			letter = true
		case isDigit(c), c == '-', c == '.', c == '+', c == '/':
		default:
			return false
		}
	}
	return letter
}

// ifIndex is the number of a device that ss could not name.
func ifIndex(device []byte) (uint32, bool) {
	digits, found := bytes.CutPrefix(device, []byte("if"))
	if !found {
		return 0, false
	}
	n, ok := number(digits, most32)
	return uint32(n), ok
}
