// What the programs here have in common: PROGRAM … N PEER HOST, one line of JSON when all is in place, and an end with stdin.
// The truth is told as in ../go/zoo/main.go.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int n;
static const char *host;

__attribute__((noreturn, unused)) static void fail(const char *what) {
	perror(what);
	exit(1);
}

__attribute__((unused)) static int check(int got, const char *what) {
	if (got < 0)
		fail(what);
	return got;
}

__attribute__((unused)) static void start(int argc, char **argv) {
	if (argc < 4)
		fail("usage");
	prctl(PR_SET_PTRACER, -1, 0, 0, 0); // where Yama lets only a parent look into a process
	n = atoi(argv[argc - 3]);
	host = argv[argc - 1];
}

static void *until_eof(void *unused) {
	char c;
	while (read(0, &c, 1) > 0)
		;
	_exit(0);
	return unused;
}

// tell tells the truth, all but what every truth begins with, and ends the process with its stdin.
__attribute__((unused)) static void tell(const char *truth) {
	pthread_t thread;
	printf("{\"ready\":true,%s}\n", truth);
	fflush(stdout);
	pthread_create(&thread, NULL, until_eof, NULL);
}

// bound is a socket on a free port of the host, whose address it tells.
__attribute__((unused)) static int bound(struct sockaddr_in *addr) {
	socklen_t len = sizeof *addr;
	int fd = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
	memset(addr, 0, sizeof *addr);
	addr->sin_family = AF_INET;
	if (inet_pton(AF_INET, host, &addr->sin_addr) != 1)
		fail("host");
	check(bind(fd, (struct sockaddr *)addr, sizeof *addr), "bind");
	check(getsockname(fd, (struct sockaddr *)addr, &len), "getsockname");
	return fd;
}

__attribute__((unused)) static int server(struct sockaddr_in *addr) {
	int fd = bound(addr);
	check(listen(fd, 128), "listen");
	return fd;
}

// echo answers once, and says whether there will be more.
__attribute__((unused)) static int echo(int fd) {
	char b[4096];
	ssize_t got = read(fd, b, sizeof b);
	return got > 0 && write(fd, b, got) == got;
}
