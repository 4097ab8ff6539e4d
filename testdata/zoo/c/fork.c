// A server that forks for each connection. Its first argument says what the parent does with its copy: "closes", or
// "forgets". The second names the state in which that copy then is.

#include "zoo.h"

int main(int argc, char **argv) {
	struct sockaddr_in addr;
	char truth[512];
	int on = 1;
	start(argc, argv);
	signal(SIGCHLD, SIG_IGN);
	int forgets = !strcmp(argv[1], "forgets"), ended = !strcmp(argv[2], "CLOSE-WAIT");
	int listener = server(&addr);
	check(setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), "SO_KEEPALIVE");
	int used = snprintf(truth, sizeof truth, "\"listen\":\"%s:%d\",\"held\":{\"%s\":%d,\"LISTEN\":1},", host, ntohs(addr.sin_port), argv[2], n);
	if (!forgets)
		snprintf(truth + used, sizeof truth - used, "\"truth\":{},\"family\":true");
	else if (ended)
		snprintf(truth + used, sizeof truth - used, "\"truth\":{\"close-wait\":%d}", n);
	else
		snprintf(truth + used, sizeof truth - used, "\"truth\":{},\"risks\":{\"inherited-fd\":%d}", n);
	tell(truth);
	for (;;) {
		int fd = check(accept(listener, NULL, NULL), "accept");
		if (check(fork(), "fork") == 0) {
			char b[4096];
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			if (forgets)
				while (read(fd, b, sizeof b) > 0)
					;
			else
				while (echo(fd))
					;
			_exit(0);
		}
		if (!forgets)
			close(fd);
	}
}
