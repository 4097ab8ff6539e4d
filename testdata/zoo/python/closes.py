"""`with` closes, whatever happens, and there is always a connection that is just being used."""

import socket
import threading
import time

import zoo


def use():
    while True:
        with socket.create_connection(zoo.peer) as s:
            s.sendall(b"hello\n")
            s.recv(6)
            time.sleep(0.05)


for _ in range(zoo.n):
    threading.Thread(target=use, daemon=True).start()

zoo.tell()
zoo.until_eof()
