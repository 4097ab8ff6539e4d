package procfd

import "fmt"

// Proto is what a socket speaks.
type Proto uint8

// The protocols that are told apart, in the order in which they are shown.
const (
	ProtoTCP Proto = iota
	ProtoMPTCP
	ProtoUDP
	ProtoUnix
	ProtoNetlink
	ProtoOther
	NumProtos
)

var protoNames = [NumProtos]string{"TCP", "MPTCP", "UDP", "unix", "netlink", "other"}

// String is the usual name.
func (p Proto) String() string {
	if p < NumProtos {
		return protoNames[p]
	}
	return fmt.Sprintf("unknown(%d)", uint8(p))
}
