"""Connections without keepalive, as Python makes them, on which nothing happens."""

import socket

import zoo

sockets = []
for _ in range(zoo.n):
    s = socket.create_connection(zoo.peer)
    s.sendall(b"hello\n")
    s.recv(6)
    sockets.append(s)

zoo.tell(truth={"idle-no-keepalive": zoo.n}, held={"ESTAB": zoo.n})
zoo.until_eof()
