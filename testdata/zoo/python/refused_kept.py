"""connect_ex returns an error code, which is easily passed over."""

import socket

import zoo

nobody = zoo.dead_end()
sockets = []
for _ in range(zoo.n):
    s = socket.socket()
    if s.connect_ex(nobody.getsockname()) == 0:
        raise SystemExit("somebody listens")
    sockets.append(s)

zoo.tell(truth={"closed-fd": zoo.n}, fates={"never connected": zoo.n}, held={"unlisted": zoo.n + 1})
zoo.until_eof()
