"""An answer of which only the header was read: the connection cannot be used again, and stays."""

import http.client

import zoo

connections = []
for _ in range(zoo.n):
    c = http.client.HTTPConnection(*zoo.peer)
    c.request("GET", "/")
    if c.getresponse().status != 200:
        raise SystemExit("no answer")
    connections.append(c)

zoo.tell(truth={"unread-data": zoo.n}, held={"ESTAB unread": zoo.n})
zoo.until_eof()
