// Package netlinkss reads TCP sockets from the Linux kernel as they are, one at a time.
//
// The kernel lists its sockets through NETLINK_SOCK_DIAG, the interface that ss uses: one
// request, then a stream of inet_diag_msg records, each with attributes behind it (TCP_INFO,
// memory, shutdown state, cgroup, …). This package sends the request, walks the answer and
// decodes each record into one reused [Socket], without allocating per socket.
//
//	conn, err := netlinkss.Dial(nil)
//	if err != nil { … }
//	defer conn.Close()
//	for s, err := range conn.Dump(ctx, netlinkss.Request{Attrs: netlinkss.AttrInfo}) {
//		if err != nil { … }
//		fmt.Println(s.State, s.Local, s.Peer, s.Timer)
//	}
//
// The same sequence comes from a recorded dump ([Replay]) and, with fewer fields, from
// /proc/net/tcp ([ReadProcNet]) and from what ss and netstat print ([ReadList]), so all that follows
// is blind to the source.
//
// Listing needs no privilege: an ordinary user sees every socket of the network namespace with its
// uid, inode and TCP_INFO. CAP_NET_ADMIN adds the mark. Entering another namespace
// ([Config.Netns]) needs CAP_SYS_ADMIN.
//
// A dump is not a snapshot. The kernel walks its hash table and lets go of it every few sockets;
// under churn, a socket can be missed or repeated, silently. Key by [Socket.Cookie], and confirm an
// absence with [Conn.Lookup].
package netlinkss
