"""What the programs here have in common: PROGRAM … N PEER HOST, one line of JSON when all is in place, and an end with stdin.

The truth is told as in ../go/zoo/main.go.
"""

import json
import os
import socket
import sys

n = int(sys.argv[-3])
host = sys.argv[-1]
peer = (sys.argv[-2].rpartition(":")[0].strip("[]"), int(sys.argv[-2].rpartition(":")[2])) if sys.argv[-2] else None


def address(server):
    """Where a server can be reached."""
    return "%s:%d" % server.getsockname()[:2]


def tell(**truth):
    """Tell the truth, without waiting for the end."""
    print(json.dumps({"ready": True, "truth": {}, **truth}), flush=True)


def until_eof():
    """End the process with its stdin."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def dead_end():
    """An address at which nobody listens, nor anybody will: its port is taken by a socket that does not listen."""
    taken = socket.socket()
    taken.bind((host, 0))
    return taken
