"""recv has raised ConnectionResetError, and the socket stays in a list."""

import socket

import zoo

sockets = []
for _ in range(zoo.n):
    s = socket.create_connection(zoo.peer)
    sockets.append(s)
    s.sendall(b"hello\n")
    try:
        s.recv(4096)
        raise SystemExit("no reset")
    except ConnectionResetError:
        pass

zoo.tell(truth={"closed-fd": zoo.n}, fates={"dead": zoo.n}, held={"unlisted": zoo.n})
zoo.until_eof()
