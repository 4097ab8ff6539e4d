package netlinkss

import "syscall"

// header is struct nlmsghdr.
type header struct {
	size  int
	typ   uint16
	flags uint16
	seq   uint32
}

// nextMessage cuts the first netlink message off b: its header, its payload, and what follows.
func nextMessage(b []byte) (h header, payload, rest []byte, err error) {
	if len(b) < sizeofNlmsghdr {
		return h, nil, nil, malformed("nlmsghdr: %d bytes, want %d", len(b), sizeofNlmsghdr)
	}
	h = readHeader(b)
	if h.size < sizeofNlmsghdr || h.size > len(b) {
		return h, nil, nil, malformed("nlmsghdr: length %d with %d bytes left", h.size, len(b))
	}
	return h, b[sizeofNlmsghdr:h.size], b[min(align4(h.size), len(b)):], nil
}

func readHeader(b []byte) header {
	size := native.Uint32(b)
	if size > 1<<30 {
		size = 0 // more than any message, and more than an int may hold: refused as too short
	}
	return header{size: int(size), typ: native.Uint16(b[4:]), flags: native.Uint16(b[6:]), seq: native.Uint32(b[8:])}
}

// errnoOf reads the number in front of an NLMSG_ERROR or NLMSG_DONE: 0 or a negative errno.
func errnoOf(payload []byte) error {
	if len(payload) < 4 {
		return nil
	}
	if n := int32(native.Uint32(payload)); n < 0 {
		return syscall.Errno(-n)
	}
	return nil
}
