// A server in one loop. Its first argument says how it waits (epoll, poll) and its second what it does with who has left:
// "closes", or "forgets", which takes the descriptor out of the set and leaves it open.

#include "zoo.h"

static int forgets;

// serve answers, and returns whether the descriptor is still to be waited for.
static int serve(int fd) {
	char b[4096];
	ssize_t got = read(fd, b, sizeof b);
	if (got > 0 && (forgets || send(fd, b, got, MSG_NOSIGNAL) == got))
		return 1;
	if (!forgets)
		close(fd);
	return 0;
}

static void by_epoll(int listener) {
	int set = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
	check(epoll_ctl(set, EPOLL_CTL_ADD, listener, &e), "epoll_ctl");
	for (;;) {
		if (epoll_wait(set, &e, 1, -1) < 1)
			continue;
		if (e.data.fd == listener) {
			e.events = EPOLLIN;
			e.data.fd = check(accept(listener, NULL, NULL), "accept");
			check(epoll_ctl(set, EPOLL_CTL_ADD, e.data.fd, &e), "epoll_ctl");
		} else if (!serve(e.data.fd) && forgets) {
			check(epoll_ctl(set, EPOLL_CTL_DEL, e.data.fd, NULL), "epoll_ctl");
		}
	}
}

static void by_poll(int listener) {
	struct pollfd fds[1024] = {{.fd = listener, .events = POLLIN}};
	int used = 1;
	for (;;) {
		check(poll(fds, used, -1), "poll");
		for (int i = used - 1; i > 0; i--)
			if (fds[i].revents && !serve(fds[i].fd))
				fds[i] = fds[--used];
		if (fds[0].revents && used < 1024)
			fds[used++] = (struct pollfd){.fd = check(accept(listener, NULL, NULL), "accept"), .events = POLLIN};
	}
}

int main(int argc, char **argv) {
	struct sockaddr_in addr;
	char truth[256];
	start(argc, argv);
	forgets = !strcmp(argv[2], "forgets");
	int listener = server(&addr);
	snprintf(truth, sizeof truth, "\"listen\":\"%s:%d\",\"truth\":{%s%.0d},\"held\":{\"%s\":%d,\"LISTEN\":1}", host, ntohs(addr.sin_port),
		forgets ? "\"close-wait\":" : "", forgets ? n : 0, forgets ? "CLOSE-WAIT" : "ESTAB", n);
	tell(truth);
	(!strcmp(argv[1], "epoll") ? by_epoll : by_poll)(listener);
}
