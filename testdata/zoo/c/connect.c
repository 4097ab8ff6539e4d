// A client that returns when connect fails, and does not close first.

#include "zoo.h"

static int try(const struct sockaddr_in *addr) {
	int fd = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
	if (connect(fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
		return -1;
	return fd;
}

int main(int argc, char **argv) {
	struct sockaddr_in nobody;
	char truth[256];
	start(argc, argv);
	bound(&nobody); // and does not listen
	for (int i = 0; i < n; i++)
		if (try(&nobody) >= 0)
			fail("somebody listens");
	snprintf(truth, sizeof truth, "\"truth\":{\"closed-fd\":%d},\"fates\":{\"never connected\":%d},\"held\":{\"unlisted\":%d}", n, n, n + 1);
	tell(truth);
	for (;;)
		pause();
}
