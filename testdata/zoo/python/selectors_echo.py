"""A server in one loop, which closes what its guests have closed."""

import selectors
import socket
import threading

import zoo

selector = selectors.DefaultSelector()
server = socket.create_server((zoo.host, 0))
selector.register(server, selectors.EVENT_READ)

zoo.tell(listen=zoo.address(server), held={"ESTAB": zoo.n, "LISTEN": 1})
threading.Thread(target=zoo.until_eof, daemon=True).start()

while True:
    for key, _ in selector.select():
        if key.fileobj is server:
            guest, _ = server.accept()
            selector.register(guest, selectors.EVENT_READ)
            continue
        try:
            data = key.fileobj.recv(4096)
            key.fileobj.sendall(data)
        except ConnectionError:  # a guest that goes while its answer is under way
            data = b""
        if not data:
            selector.unregister(key.fileobj)
            key.fileobj.close()
