"""A pool of TLS connections that nobody has used yet: OpenSSL leaves the session tickets, which the server sends behind its
handshake, where they are until the next read."""

import socket
import ssl

import zoo

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
pool = []
for _ in range(zoo.n):
    s = socket.create_connection(zoo.peer)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    pool.append(context.wrap_socket(s))

zoo.tell(risks={"unread-data": zoo.n}, held={"ESTAB unread": zoo.n})
zoo.until_eof()
