"""A listener that is shared with forked workers."""

import os
import socket

import zoo

server = socket.create_server((zoo.host, 0))
workers = []
for _ in range(zoo.n):
    worker = os.fork()
    if worker == 0:
        zoo.until_eof()
    workers.append(worker)

zoo.tell(listen=zoo.address(server), held={"LISTEN": 1 + zoo.n}, children=workers)
zoo.until_eof()
