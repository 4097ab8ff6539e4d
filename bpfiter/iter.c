//go:build ignore

// Iterators over the descriptors of a process (BPF_TRACE_ITER, iter/task_file). One tells what each descriptor is open on, and of a TCP
// socket what a rule may want to know; the other tells the inodes of the sockets and no more.
//
// The kernel's structures are declared with what is used of them alone: where a field lies, the loader finds out (CO-RE).

#include <linux/types.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#define CO_RE __attribute__((preserve_access_index))

typedef __u64 u64;
typedef __u32 u32;
typedef __u16 u16;
typedef __u8 u8;
typedef __s64 s64;
typedef __s32 s32;

struct seq_file {} CO_RE;

struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id, seq_num;
} CO_RE;

struct super_block {
	unsigned long s_magic;
} CO_RE;

struct inode {
	u16 i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
} CO_RE;

struct qstr {
	const unsigned char *name;
} CO_RE;

struct dentry {
	struct qstr d_name;
} CO_RE;

struct vfsmount {
	struct dentry *mnt_root;
} CO_RE;

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
} CO_RE;

struct file {
	struct inode *f_inode;
	struct path f_path;
	struct {
		struct {
			s64 counter;
		} refcnt;
	} f_ref;
} CO_RE;

// Before Linux 6.13.
struct file___count {
	struct {
		s64 counter;
	} f_count;
} CO_RE;

struct net;

struct nsproxy {
	struct net *net_ns;
} CO_RE;

struct task_struct {
	int pid, tgid;
	struct task_struct *group_leader;
	struct nsproxy *nsproxy;
	u64 start_boottime;
	struct files_struct *files;
} CO_RE;

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
} CO_RE;

struct ns_common {
	unsigned int inum;
} CO_RE;

struct net {
	struct ns_common ns;
} CO_RE;

typedef struct {
	struct net *net;
} CO_RE possible_net_t;

struct in6_addr {
	u32 words[4];
};

struct sock_common {
	u32 skc_daddr, skc_rcv_saddr;
	u16 skc_dport, skc_num, skc_family;
	volatile unsigned char skc_state;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	unsigned long skc_flags;
} CO_RE;

struct hlist_node {
	struct hlist_node **pprev;
} CO_RE;

struct timer_list {
	struct hlist_node entry;
	unsigned long expires;
} CO_RE;

typedef struct {
	u32 val;
} kuid_t;

struct kernfs_node {
	u64 id;
} CO_RE;

struct cgroup {
	struct kernfs_node *kn;
} CO_RE;

struct sock_cgroup_data {
	struct cgroup *cgroup;
} CO_RE;

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	struct timer_list sk_timer;
	kuid_t sk_uid;
	u16 sk_protocol, sk_type;
	u8 sk_shutdown;
	u32 sk_ack_backlog, sk_max_ack_backlog;
	struct sock_cgroup_data sk_cgrp_data;
} CO_RE;

struct socket {
	struct sock *sk;
} CO_RE;

struct inet_sock {
	struct sock sk;
	u16 inet_sport;
} CO_RE;

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct timer_list icsk_delack_timer;
	u32 icsk_rto;
	u8 icsk_retransmits, icsk_pending, icsk_backoff, icsk_probes_out;
	struct {
		u32 lrcvtime;
		u16 rcv_mss;
	} icsk_ack;
	u32 icsk_user_timeout;
} CO_RE;

// Before Linux 6.18 the time of the timer of retransmission has a field of its own.
struct inet_connection_sock___timeout {
	unsigned long icsk_timeout;
} CO_RE;

// Until Linux 6.18 that timer is there, and sk_timer is that of keepalive. Since, sk_timer is that of retransmission, and that of keepalive
// is here.
struct inet_connection_sock___until_6_18 {
	struct timer_list icsk_retransmit_timer;
} CO_RE;

struct inet_connection_sock___since_6_19 {
	struct timer_list icsk_keepalive_timer;
} CO_RE;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 snd_wnd, mss_cache, snd_cwnd, lost_out, sacked_out, copied_seq, retrans_out, snd_ssthresh, segs_out, data_segs_out;
	u64 bytes_sent;
	u32 write_seq, lsndtime, mdev_us, rcv_nxt, snd_nxt, snd_una, srtt_us, packets_out, delivered, delivered_ce, rcv_wnd, rcv_tstamp;
	u64 bytes_received;
	u32 segs_in, data_segs_in;
	u64 bytes_acked, bytes_retrans;
	u32 total_retrans, reordering, rcv_ssthresh;
	u16 advmss;
	u8 keepalive_probes;
	unsigned int keepalive_time, keepalive_intvl;
} CO_RE;

// fd_row is a descriptor. kind is as the constants in rows.go say; family and what follows are of a socket.
struct fd_row {
	u32 fd, inode;
	u8 kind;
	u8 own; // in the table of a thread that has its own
	u16 family, type, protocol;
};

enum { KIND_SOCKET, KIND_PIPE, KIND_ANON, KIND_PIDFD, KIND_DEVICE, KIND_FILE, KIND_MEMFD, KIND_OTHER, KIND_TCP, KIND_USUAL };

#define S_IFMT 0170000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFCHR 0020000
#define PIPEFS_MAGIC 0x50495045
#define ANON_INODE_FS_MAGIC 0x09041934
#define NSFS_MAGIC 0x6e736673
#define PID_FS_MAGIC 0x50494446
#define TMPFS_MAGIC 0x01021994
#define HUGETLBFS_MAGIC 0x958458f6

// anon_row is a descriptor of an anonymous inode or on tmpfs, and how its name begins.
struct anon_row {
	struct fd_row fd;
	char name[8];
};

#define TCP_ESTABLISHED 1
#define TCP_LISTEN 10
#define AF_INET 2
#define AF_INET6 10

// sock_row is a TCP socket and one descriptor on it.
struct sock_row {
	struct fd_row fd;
	u64 cookie, cgroup;
	u32 netns, refs;
	// struct inet_diag_msg
	u8 family, state, timer, retrans;
	u16 sport, dport;
	u32 src[4], dst[4];
	u32 ifindex, inode, uid, rqueue, wqueue;
	s32 expires; // jiffies
	// what a list of the kernel does not have
	u32 err, flags, user_timeout;
	u32 keep_idle, keep_interval; // jiffies; 0: the namespace's
	u8 keep_count, shutdown, mptcp, pad;
	// of struct tcp_info; times in jiffies
	u8 retransmits, probes, backoff, pad2;
	u32 rto, snd_mss, rcv_mss, unacked, sacked, lost, retrans_out, last_data_sent, last_data_recv, last_ack_recv;
	u32 srtt, mdev, snd_ssthresh, snd_cwnd, advmss, reordering, rcv_ssthresh, total_retrans;
	u64 bytes_acked, bytes_received;
	u32 segs_out, segs_in, notsent, data_segs_in, data_segs_out, delivered, delivered_ce, snd_wnd;
	u64 bytes_sent, bytes_retrans;
	u32 rcv_wnd, pad3;
};

// usual_row is a connection on which something has moved lately and nothing waits, and that nobody else has. Its addresses come behind it:
// local and peer, of 4 bytes each, or of 16.
struct usual_row {
	struct fd_row fd;
	u64 cookie;
	u32 idle; // jiffies, since data went either way
	u16 sport, dport;
	u8 timer;
	u8 sent; // what was acknowledged of more than the payload: 0, 1, or 2 for anything else
	u8 pad[6];
};

struct usual_with_addrs {
	struct usual_row row;
	u32 addrs[8];
};

// kept_alive reports whether the timer of keepalive runs, and tells until when.
static __always_inline bool kept_alive(struct tcp_sock *tp, u32 *expires)
{
	struct inet_connection_sock___since_6_19 *since = (void *)tp;
	if (bpf_core_field_exists(since->icsk_keepalive_timer)) {
		*expires = since->icsk_keepalive_timer.expires;
		return since->icsk_keepalive_timer.entry.pprev;
	}
	struct timer_list *timer = &tp->inet_conn.icsk_inet.sk.sk_timer;
	*expires = timer->expires;
	return timer->entry.pprev;
}

// resends_at is until when the timer of retransmission runs.
static __always_inline u32 resends_at(struct tcp_sock *tp)
{
	struct inet_connection_sock___timeout *old = (void *)tp;
	if (bpf_core_field_exists(old->icsk_timeout))
		return old->icsk_timeout;
	struct inet_connection_sock___until_6_18 *until = (void *)tp;
	if (bpf_core_field_exists(until->icsk_retransmit_timer))
		return until->icsk_retransmit_timer.expires;
	return tp->inet_conn.icsk_inet.sk.sk_timer.expires;
}

static __always_inline void timer_of(struct sock_row *row, struct tcp_sock *tp, u32 now)
{
	struct inet_connection_sock *icsk = &tp->inet_conn;
	u32 when;
	u8 pending = icsk->icsk_pending;
	if (pending == 1 || pending == 5 || pending == 6) { // RETRANS, LOSS_PROBE, REO_TIMEOUT
		row->timer = 1;
		row->retrans = icsk->icsk_retransmits;
	} else if (pending == 3) { // PROBE0
		row->timer = 4;
		row->retrans = icsk->icsk_probes_out;
	} else if (kept_alive(tp, &when)) {
		row->timer = 2;
		row->retrans = icsk->icsk_probes_out;
		row->expires = when - now;
		return;
	} else {
		if (icsk->icsk_delack_timer.entry.pprev) {
			row->timer = 5;
			row->expires = (u32)icsk->icsk_delack_timer.expires - now;
		}
		return;
	}
	row->expires = resends_at(tp) - now;
}

// What is usual is told in short from sieve = 1 on; in jiffies. A connection on which nothing has moved for still is usual if something has
// since its process began, so much later that no clock's rounding matters.
volatile u32 sieve = 0, idle_from = 0, still = 0, later = 0, tick_ns = 1000000;

// refs is how many hold the file, the iterator among them.
static __always_inline u32 refs_of(struct file *file)
{
	struct file___count *old = (void *)file;
	if (bpf_core_field_exists(old->f_count))
		return old->f_count.counter;
	return file->f_ref.refcnt.counter + 1;
}

static __always_inline bool is_usual(struct sock *sk, struct tcp_sock *tp, struct task_struct *task, u32 idle, u32 refs)
{
	if (!sieve || sk->__sk_common.skc_state != TCP_ESTABLISHED || tp->rcv_nxt != tp->copied_seq || tp->write_seq != tp->snd_una)
		return false;
	if (refs > 2 || idle >= idle_from || sk->__sk_common.skc_net.net != task->nsproxy->net_ns)
		return false;
	if (idle < still)
		return true;
	u64 age = (bpf_ktime_get_boot_ns() - task->group_leader->start_boottime) / (tick_ns | 1);
	return idle + later < age;
}

static __always_inline int usual(struct bpf_iter__task_file *ctx, struct fd_row *fd, struct sock *sk, struct tcp_sock *tp, u32 idle)
{
	struct usual_with_addrs all = {};
	struct usual_row *row = &all.row;
	row->fd = *fd;
	row->fd.kind = KIND_USUAL;
	row->cookie = bpf_get_socket_cookie(tp);
	row->idle = idle;
	row->sport = sk->__sk_common.skc_num; // of this machine's order, and nearer than inet_sport
	row->dport = sk->__sk_common.skc_dport;
	u8 pending = tp->inet_conn.icsk_pending;
	u32 until;
	row->timer = pending || kept_alive(tp, &until) || tp->inet_conn.icsk_delack_timer.entry.pprev;
	u64 sent = tp->bytes_acked - tp->bytes_sent;
	if (sent != 1) // else nothing was sent twice: what was, would be missing
		sent += tp->bytes_retrans;
	row->sent = sent < 2 ? sent : 2;
	if (fd->family == AF_INET6) {
		struct in6_addr src = sk->__sk_common.skc_v6_rcv_saddr, dst = sk->__sk_common.skc_v6_daddr;
		__builtin_memcpy(all.addrs, &src, sizeof(src));
		__builtin_memcpy(all.addrs + 4, &dst, sizeof(dst));
		bpf_seq_write(ctx->meta->seq, &all, sizeof(*row) + 32);
	} else {
		all.addrs[0] = sk->__sk_common.skc_rcv_saddr;
		all.addrs[1] = sk->__sk_common.skc_daddr;
		bpf_seq_write(ctx->meta->seq, &all, sizeof(*row) + 8);
	}
	return 0;
}

static __always_inline int tcp(struct bpf_iter__task_file *ctx, struct file *file, struct task_struct *task, struct fd_row *fd, struct sock *sk, struct tcp_sock *tp)
{
	struct inet_connection_sock *icsk = &tp->inet_conn;
	u32 now = bpf_jiffies64();
	u32 last_sent = now - tp->lsndtime, last_recv = now - icsk->icsk_ack.lrcvtime;
	u32 refs = refs_of(file), idle = last_sent < last_recv ? last_sent : last_recv;
	if (is_usual(sk, tp, task, idle, refs))
		return usual(ctx, fd, sk, tp, idle);
	struct sock_row row = {};
	row.fd = *fd;
	row.fd.kind = KIND_TCP;
	row.refs = refs;
	row.netns = sk->__sk_common.skc_net.net->ns.inum;
	row.cookie = bpf_get_socket_cookie(tp);
	struct cgroup *cgroup = sk->sk_cgrp_data.cgroup;
	if (cgroup)
		row.cgroup = cgroup->kn->id;
	row.family = fd->family;
	row.state = sk->__sk_common.skc_state;
	row.sport = icsk->icsk_inet.inet_sport;
	row.dport = sk->__sk_common.skc_dport;
	if (fd->family == AF_INET6) {
		struct in6_addr src = sk->__sk_common.skc_v6_rcv_saddr, dst = sk->__sk_common.skc_v6_daddr;
		__builtin_memcpy(row.src, &src, sizeof(src));
		__builtin_memcpy(row.dst, &dst, sizeof(dst));
	} else {
		row.src[0] = sk->__sk_common.skc_rcv_saddr;
		row.dst[0] = sk->__sk_common.skc_daddr;
	}
	row.ifindex = sk->__sk_common.skc_bound_dev_if;
	row.inode = fd->inode;
	row.uid = sk->sk_uid.val;
	if (row.state == TCP_LISTEN) {
		row.rqueue = sk->sk_ack_backlog;
		row.wqueue = sk->sk_max_ack_backlog;
	} else {
		s32 unread = tp->rcv_nxt - tp->copied_seq;
		row.rqueue = unread > 0 ? unread : 0;
		row.wqueue = tp->write_seq - tp->snd_una;
	}
	timer_of(&row, tp, now);
	row.err = sk->sk_err;
	row.flags = sk->__sk_common.skc_flags;
	row.user_timeout = icsk->icsk_user_timeout;
	row.keep_idle = tp->keepalive_time;
	row.keep_interval = tp->keepalive_intvl;
	row.keep_count = tp->keepalive_probes;
	row.shutdown = sk->sk_shutdown;
	row.retransmits = icsk->icsk_retransmits;
	row.probes = icsk->icsk_probes_out;
	row.backoff = icsk->icsk_backoff;
	row.rto = icsk->icsk_rto;
	row.snd_mss = tp->mss_cache;
	row.rcv_mss = icsk->icsk_ack.rcv_mss;
	row.unacked = tp->packets_out;
	row.sacked = tp->sacked_out;
	row.lost = tp->lost_out;
	row.retrans_out = tp->retrans_out;
	row.last_data_sent = last_sent;
	row.last_data_recv = last_recv;
	row.last_ack_recv = now - tp->rcv_tstamp;
	row.srtt = tp->srtt_us >> 3;
	row.mdev = tp->mdev_us >> 2;
	row.snd_ssthresh = tp->snd_ssthresh;
	row.snd_cwnd = tp->snd_cwnd;
	row.advmss = tp->advmss;
	row.reordering = tp->reordering;
	row.rcv_ssthresh = tp->rcv_ssthresh;
	row.total_retrans = tp->total_retrans;
	row.bytes_acked = tp->bytes_acked;
	row.bytes_received = tp->bytes_received;
	row.segs_out = tp->segs_out;
	row.segs_in = tp->segs_in;
	s32 notsent = tp->write_seq - tp->snd_nxt;
	row.notsent = notsent > 0 ? notsent : 0;
	row.data_segs_in = tp->data_segs_in;
	row.data_segs_out = tp->data_segs_out;
	row.delivered = tp->delivered;
	row.delivered_ce = tp->delivered_ce;
	row.snd_wnd = tp->snd_wnd;
	row.bytes_sent = tp->bytes_sent;
	row.bytes_retrans = tp->bytes_retrans;
	row.rcv_wnd = tp->rcv_wnd;
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

static __always_inline u8 kind_of(struct file *file, struct inode *inode, u16 mode)
{
	if (mode == S_IFCHR || mode == S_IFBLK)
		return KIND_DEVICE;
	switch (inode->i_sb->s_magic) {
	case PIPEFS_MAGIC:
		return KIND_PIPE;
	case ANON_INODE_FS_MAGIC:
		return KIND_ANON;
	case NSFS_MAGIC: // where it is mounted it has a path
		return file->f_path.mnt->mnt_root == file->f_path.dentry ? KIND_FILE : KIND_OTHER;
	case PID_FS_MAGIC:
		return KIND_PIDFD;
	case TMPFS_MAGIC:
	case HUGETLBFS_MAGIC: // a memfd, if that is how its name begins
		return mode == S_IFREG ? KIND_MEMFD : KIND_FILE;
	}
	return KIND_FILE;
}

// uppers are threads that read the upper half of a large table, each in the place that its number gives; they pass over what is below.
struct upper {
	u32 tid, from;
};

volatile struct upper uppers[64];

static __always_inline bool passed_over(struct task_struct *task, u32 fd)
{
	if (task->pid != task->tgid) // Linux 6.1 shows a table that threads share once more, as that of the second of them
		return task->files == task->group_leader->files;
	u32 tid = bpf_get_current_pid_tgid();
	volatile struct upper *u = &uppers[tid % 64];
	return u->tid == tid && fd < u->from;
}

SEC("iter/task_file")
int descriptors(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct task_struct *task = ctx->task;
	if (!file || !task || passed_over(task, ctx->fd))
		return 0;
	struct inode *inode = file->f_inode;
	struct anon_row row = {};
	row.fd.fd = ctx->fd;
	row.fd.inode = inode->i_ino;
	row.fd.own = task->pid != task->tgid;
	struct socket *sock = bpf_sock_from_file(file); // what of an inode is read, is read from memory that nothing else has touched
	if (sock) {
		struct sock *sk = sock->sk;
		if (sk) {
			row.fd.family = sk->__sk_common.skc_family;
			row.fd.type = sk->sk_type;
			row.fd.protocol = sk->sk_protocol;
			if (row.fd.family == AF_INET || row.fd.family == AF_INET6) {
				struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
				if (tp)
					return tcp(ctx, file, task, &row.fd, sk, tp);
			}
		}
		row.fd.kind = KIND_SOCKET;
		bpf_seq_write(ctx->meta->seq, &row.fd, sizeof(row.fd));
		return 0;
	}
	row.fd.kind = kind_of(file, inode, inode->i_mode & S_IFMT);
	if (row.fd.kind != KIND_ANON && row.fd.kind != KIND_MEMFD) {
		bpf_seq_write(ctx->meta->seq, &row.fd, sizeof(row.fd));
		return 0;
	}
	bpf_probe_read_kernel_str(&row.name, sizeof(row.name), file->f_path.dentry->d_name.name);
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

// owner_row is a descriptor on a socket; the first of all descriptors is told whatever it is on, with inode 0 if that is no socket.
struct owner_row {
	u32 fd, inode;
};

SEC("iter/task_file")
int owners(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct task_struct *task = ctx->task;
	if (!file || !task || passed_over(task, ctx->fd))
		return 0;
	struct owner_row row = {ctx->fd};
	if (bpf_sock_from_file(file))
		row.inode = file->f_inode->i_ino;
	else if (ctx->meta->seq_num > 0)
		return 0;
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

// reader_row is the time, and the number by which the programs know the thread that reads.
struct reader_row {
	u64 jiffies;
	u32 tid, pad;
};

SEC("iter/task_file")
int reader(struct bpf_iter__task_file *ctx)
{
	struct reader_row row = {bpf_jiffies64(), bpf_get_current_pid_tgid()};
	if (ctx->file && ctx->meta->seq_num == 0)
		bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

// So that the object tells their layout.
const struct reader_row *unused_reader_row __attribute__((unused));
const struct owner_row *unused_owner_row __attribute__((unused));
const struct anon_row *unused_anon_row __attribute__((unused));
const struct fd_row *unused_fd_row __attribute__((unused));
const struct sock_row *unused_sock_row __attribute__((unused));
const struct usual_row *unused_usual_row __attribute__((unused));
