package netlinkss

import "unsafe"

// TCPInfo is struct tcp_info (include/uapi/linux/tcp.h) with the kernel's layout, up to
// total_rto_time. Times are in ms unless the name says µs; the clocks (Last…) wrap at 2³² ms,
// 49.7 days. A kernel that sends fewer bytes leaves the rest zero: [Socket.InfoLen] tells. Use the
// InfoHas constants to ask whether a field was sent.
type TCPInfo struct {
	State, CAState, Retransmits, Probes, Backoff, Options uint8
	WScale, Flags                                         uint8

	RTO, ATO                                 uint32 // µs
	SndMSS, RcvMSS                           uint32
	Unacked, Sacked, Lost, Retrans, Fackets  uint32
	LastDataSent                             uint32 // since a segment with payload left, retransmits included
	LastAckSent                              uint32 // never set by the kernel
	LastDataRecv                             uint32 // since a segment with payload came
	LastAckRecv                              uint32 // since an acceptable ACK came
	PMTU, RcvSSThresh                        uint32
	RTT, RTTVar                              uint32 // µs
	SndSSThresh, SndCwnd, AdvMSS, Reordering uint32
	RcvRTT                                   uint32 // µs
	RcvSpace, TotalRetrans                   uint32
	PacingRate, MaxPacingRate                uint64
	BytesAcked                               uint64 // counts our SYN (connect only) and FIN
	BytesReceived                            uint64 // counts the peer's FIN
	SegsOut, SegsIn, NotSentBytes, MinRTT    uint32
	DataSegsIn, DataSegsOut                  uint32 // segments with payload
	DeliveryRate                             uint64
	BusyTime, RwndLimited, SndbufLimited     uint64 // µs
	Delivered, DeliveredCE                   uint32
	BytesSent, BytesRetrans                  uint64 // payload
	DSACKDups, ReordSeen, RcvOOOPack, SndWnd uint32
	RcvWnd, Rehash                           uint32
	TotalRTO, TotalRTORecoveries             uint16
	TotalRTOTime                             uint32
}

// How many bytes of tcp_info a kernel must send for the fields of that name to be there.
const (
	InfoHasClocks    = 60  // Last…
	InfoHasDataSegs  = 160 // DataSegsIn, DataSegsOut; Linux 4.6
	InfoHasDelivered = 200 // Delivered; Linux 4.18
	InfoHasBytes     = 216 // BytesSent, BytesRetrans; Linux 4.19
	InfoHasSndWnd    = 232 // SndWnd; Linux 5.4
)

const sizeofTCPInfo = int(unsafe.Sizeof(TCPInfo{}))

// bytes is the struct's own memory. Its fields are laid out as the kernel's are, without padding
// (a test holds that), so a record is one copy and not sixty loads.
func (t *TCPInfo) bytes() *[sizeofTCPInfo]byte {
	return (*[sizeofTCPInfo]byte)(unsafe.Pointer(t))
}

// decode fills t from the kernel's bytes and returns how many it used; what b lacks is zero.
func (t *TCPInfo) decode(b []byte) int {
	*t = TCPInfo{}
	return copy(t.bytes()[:], b)
}
