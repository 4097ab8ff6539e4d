// Package record writes looks at sockets into a file and reads them again: one header, then samples, for a day or for a month.
//
// A file is JSON Lines, as it is or compressed with zstd. What is read back of a sample is the [diag.Snapshot] that was written, so
// that [diag.Check] says the same of it, but for what stands below. A writer that is interrupted loses nothing of what [Writer.Write]
// returned for; a file that is cut anywhere is read up to its last whole sample, and [Reader.Cut] says so.
//
// # Lines
//
// Each line is an object, named by its first member, and ends in "crc", the CRC-32C of the bytes before it, in hex.
//
//	{"schema":"sockleak.record/1", …}   the header, first
//	{"raw":4026531840,"b64":"…"}        raw netlink bytes of the sample that follows, up to 768 KiB a line
//	{"key":17}                          from here on all is said anew; the next sample is the 17th
//	{"words":[…]}                       objects that are named by their number from 1 on, in the order of their coming
//	{"kinds":[…]}                       what sockets have in common, named in the same way
//	{"sockets":{…}} {"procs":{…}} {"held":{…}} {"dark":{…}}
//	{"sample":17,"at":"…","up":…, …}    ends the sample: what came before it is whole
//	{"end":true,"samples":17}           the last line of a recording that was closed
//
// Only what differs from the sample before is written. Now and then comes a key, in which all is: when the lines since the last one
// have eight times its size. In a compressed file each key begins a frame, so the last sample takes one key and what follows it.
//
// # Tables
//
// Rows have slots, which are their names as long as they live. A table is {"gone":[…],"new":{…},"mod":{…},"moved":{…}}: the slots
// that are free again, rows that are new, and rows that changed; of sockets "moved" are those that carried payload, and "mod" the
// others. Each of the three is columns, all as long as "slot". A number is a difference: a slot to the slot before it in the list; a
// value of a new row to that of the row before it in the list, the first to 0; a value of a changed row to what it was. A column
// that is missing has no difference. Text of new rows is whole, "" is as in the row before. So the first of a list of new cookies is one, and
//
//	jq -c 'select(.sockets.new.cookie) | [foreach .sockets.new.cookie[] as $d (0; . + $d)]'
//
// lists them all. The sockets' columns are as ss and tcp_info name them, but that sent, recv_after, ack_after and expires_after are
// moments: ms of the host's uptime modulo 2³², each after the first counted from one before it (recv_after and ack_after from sent,
// expires_after from the acknowledgement). clock.go says how they are kept, and why a clock that is read back is never more than the kernel
// told. acked_over is bytes_acked less (bytes_sent - bytes_retrans); segs_in_over and segs_out_over are counted from data_segs_in and
// data_segs_out. held.read is the uptime in ms at which the row was read at the earliest, less that of the sample.
//
// Bytes of a name that are no UTF-8 are written as the runes from U+10FF00 on.
//
// # What is not recorded
//
//   - of tcp_info: ca_state, ato, snd_mss, rcv_mss, unacked, sacked, lost, retrans, fackets, last_ack_sent, pmtu, rcv_ssthresh, rtt, rttvar,
//     snd_ssthresh, snd_cwnd, advmss, reordering, rcv_rtt, rcv_space, min_rtt, all rates, busy_time and what limited it, delivered,
//     dsack_dups, reord_seen, rcv_ooopack, rcv_wnd, rehash and total_rto. They are 0; [netlinkss.Socket.InfoLen] is the kernel's yet;
//   - meminfo and skmem, which are absent: [netlinkss.Socket.Has] says so;
//   - of a process: that a list names it (what is recorded was looked at), its descriptors on sockets one by one ([procfd.Process.Sockets]), which the join has made into what it holds, the
//     epoll sets of threads with a table of their own, and arguments beyond 64 KiB;
//   - when a dark socket was asked ([diag.DarkSocket.Asked]);
//   - what a clock of the host said when it was set meanwhile: times are those of the clock as it was at the first sample, so that what
//     passes between two of them did pass.
//
// # Bounds
//
// A file may come from anybody. A line has at most 64 MiB, a table 2²¹ rows (some 350 MB of sockets, were all of them there), words 256 MiB
// between two keys, a zstd frame a window of 8 MiB. What a compressed file unfolds to is read line by line and never held in whole. What is wrong is
// an error that names the line.
package record
