// Package diag says what a list of sockets means: which are leaked, since when at the least, why the
// kernel keeps them, and what to change.
//
// It is pure: no file, no clock, no global. What was read elsewhere comes in as values, and the time
// with it:
//
//	join := diag.NewJoin(space, processes)      // what is wanted
//	for s, err := range conn.Dump(ctx, …) {     // one namespace's sockets, streamed
//		join.Add(s)
//	}
//	space := join.Space()                       // processes with their sockets
//	history.Add(&diag.Snapshot{At: now, Spaces: []*diag.Space{space}})
//	result := diag.Check(history, thresholds, diag.Rules())
//
// A rule judges by the kernel's own clocks, which prove most leaks in one look. Where they cannot
// tell, [Unsettled] asks for a second look, and what is still unproved after it is a risk and not a
// leak. A time is exact or a proven lower bound ([Span]), and always names its source.
//
// A host is counted by [Tally], which keeps a row per group and nothing per socket.
package diag
