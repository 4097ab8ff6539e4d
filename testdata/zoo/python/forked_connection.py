"""Connections that are made before the fork, as of a pool: the worker has them too."""

import multiprocessing
import os
import socket

import zoo

sockets = []
for _ in range(zoo.n):
    s = socket.create_connection(zoo.peer)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    s.sendall(b"hello\n")
    s.recv(6)
    sockets.append(s)

ends, stays = os.pipe()


def work():
    os.close(stays)
    os.read(ends, 1)  # until the parent ends


worker = multiprocessing.get_context("fork").Process(target=work, daemon=True)
worker.start()

zoo.tell(risks={"inherited-fd": zoo.n}, unscanned=[worker.pid], held={"ESTAB keepalive": 2 * zoo.n})
zoo.until_eof()
