package diag

import "github.com/sockleak/sockleak/netlinkss"

// Keepalive is SO_KEEPALIVE as far as it can be told.
type Keepalive uint8

// What can be told of SO_KEEPALIVE.
const (
	KeepaliveUnknown Keepalive = iota // another timer hides it, or the state has none
	KeepaliveOff
	KeepaliveOn
)

// String is unknown, off or on.
func (k Keepalive) String() string { return [...]string{"unknown", "off", "on"}[k%3] }

// KeepaliveOf reads SO_KEEPALIVE from the timer that the kernel shows. A socket that a process holds
// shows the keepalive timer if and only if the option is set, unless a retransmit or persist timer
// stands before it.
func KeepaliveOf(s *netlinkss.Socket) Keepalive {
	switch s.State {
	case netlinkss.Estab, netlinkss.CloseWait, netlinkss.FinWait2:
	default:
		return KeepaliveUnknown
	}
	if s.Inode == 0 {
		return KeepaliveUnknown // of an orphan in FIN-WAIT-2 this is another timer with the same number
	}
	switch {
	case s.Has(netlinkss.AttrKeepAlive) && s.KeepAlive:
		return KeepaliveOn
	case s.Has(netlinkss.AttrKeepAlive):
		return KeepaliveOff
	}
	switch s.Timer {
	case netlinkss.TimerKeepalive:
		return KeepaliveOn
	case netlinkss.TimerOff, netlinkss.TimerDelack:
		return KeepaliveOff
	}
	return KeepaliveUnknown
}

// Direction is who opened a connection.
type Direction uint8

// The directions.
const (
	DirectionUnknown Direction = iota
	Accepted
	Connected
)

// String is unknown, accepted or connected.
func (d Direction) String() string { return [...]string{"unknown", "accepted", "connected"}[d%3] }

// DirectionOf reads the direction from the byte counters: bytes_acked counts the SYN of the side that
// opened the connection, and nothing of the other, so it is one more than what is acknowledged of the
// payload; our FIN counts, too, so that can be told where it is known to be acknowledged (FIN-WAIT-2) or
// not sent.
func DirectionOf(s *netlinkss.Socket) Direction {
	t := &s.Info
	// What has sent nothing has sent no bytes, on a kernel that does not count them, too.
	if s.InfoLen() < netlinkss.InfoHasBytes && (!hasCounters(s) || t.DataSegsOut > 0) {
		return DirectionUnknown
	}
	switch s.State {
	case netlinkss.Estab, netlinkss.CloseWait:
		if t.NotSentBytes > s.SendQ {
			return DirectionUnknown
		}
		return directionOf(t, t.BytesAcked+uint64(s.SendQ-t.NotSentBytes)) // and what is on its way
	case netlinkss.FinWait2:
		return directionOf(t, t.BytesAcked-1)
	}
	return DirectionUnknown
}

func directionOfCounters(t *netlinkss.TCPInfo) Direction { return directionOf(t, t.BytesAcked) }

// directionOf compares what was sent or acknowledged with the payload.
func directionOf(t *netlinkss.TCPInfo, counted uint64) Direction {
	switch counted - (t.BytesSent - t.BytesRetrans) {
	case 0:
		return Accepted
	case 1:
		return Connected
	}
	return DirectionUnknown
}
