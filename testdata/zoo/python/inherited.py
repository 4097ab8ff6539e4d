"""A program is started with all descriptors that may be inherited, and keeps connections alive that it does not know of."""

import socket
import subprocess
import threading
import time

import zoo

server = socket.create_server((zoo.host, 0))


def serve():
    connections = []
    for _ in range(zoo.n):
        s, _ = server.accept()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        s.sendall(s.recv(6))
        s.set_inheritable(True)
        connections.append(s)
    time.sleep(0.3)
    global helper
    helper = subprocess.Popen(["cat"], close_fds=False, stdin=subprocess.PIPE)
    for s in connections:
        s.close()


threading.Thread(target=serve, daemon=True).start()

zoo.tell(
    listen=zoo.address(server),
    truth={"inherited-fd": zoo.n},
    family=True,
    held={"ESTAB keepalive": zoo.n, "LISTEN": 1},
)
zoo.until_eof()
