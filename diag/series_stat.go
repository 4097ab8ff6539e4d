package diag

import "github.com/sockleak/sockleak/netlinkss"

// hostKey is the track of a host's counts.
var hostKey = procKey{}

// AddStat measures a host's count: the states, the timers of what is in ESTAB, and the groups that are listed, as far as
// [MostGroups] goes. A group that is not listed has a number where all are: none. It must be younger than those before it: another
// is left out.
func (s *Series) AddStat(st *Stat) {
	if !s.begin(st.Snapshot.At) {
		return
	}
	t := s.trackOf(hostKey, st.Snapshot.Host.Name)
	t.sample(s)
	n := len(s.Times) - 1
	t.known[n] |= knowsStates
	m := st.Tally.IPv4.Sum(&st.Tally.IPv6)
	untold := 0
	if st.Tally.NoTimers > 0 { // else the last column is of timers that only newer kernels have
		untold = m[netlinkss.Estab][NumTimers-1]
	}
	t.matrix(m, untold, n)
	if st.Distinct == len(st.Groups) {
		t.known[n] |= knowsGroups
	}
	for i := range st.Groups {
		g := &st.Groups[i]
		key := LineKey{LineGroup, st.Tally.By.String() + " " + st.Tally.Key(g)}
		if t.byKey[key] != nil || len(t.OfKind(LineGroup)) < MostGroups {
			t.level(key, n, float64(g.Sockets))
		}
	}
	s.end()
}
