"""recv has returned b'', and the socket stays in a list."""

import socket

import zoo

sockets = []
for _ in range(zoo.n):
    s = socket.create_connection(zoo.peer)
    while s.recv(4096):
        pass
    sockets.append(s)

zoo.tell(truth={"close-wait": zoo.n}, held={"CLOSE-WAIT": zoo.n})
zoo.until_eof()
