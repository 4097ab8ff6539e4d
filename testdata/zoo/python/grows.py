"""Descriptors over time: grows.py SHAPE RATE, as in ../README.md."""

import os
import socket
import sys
import threading
import time

import zoo

shape, rate = sys.argv[-5], float(sys.argv[-4])
kept = []


def connect():
    s = socket.create_connection(zoo.peer)
    s.sendall(b"hello\n")
    s.recv(6)
    return s


def evenly(do):
    """Do it rate times a second, whatever it takes."""
    start = time.monotonic()
    for i in range(1 << 30):
        time.sleep(max(start + i / rate - time.monotonic(), 0))
        do()


def leak():
    evenly(lambda: kept.append(connect()))


def churn():
    evenly(lambda: connect().close())


def pipes():
    evenly(lambda: kept.append(os.pipe()))


def eventfds():
    evenly(lambda: kept.append(os.eventfd(0)))


def burst():
    """All at once, and then nothing."""
    time.sleep(20)
    for _ in range(int(rate)):
        kept.append(connect())


def sawtooth():
    """A pool that grows with its load and is trimmed now and then."""

    def step():
        kept.append(connect())
        if len(kept) > 40:
            while len(kept) > 2:
                kept.pop().close()

    evenly(step)


zoo.tell()
threading.Thread(target=globals()[shape], daemon=True).start()
zoo.until_eof()
