"""Loaders that do what a hostile document could make a parser do; each runs in a sandbox's child only."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePath

from ragkeep.ports import Extract


def _text(text: str) -> Iterator[Extract]:
    yield Extract(text, "prose", "text")


def polite(_: PurePath, data: bytes) -> Iterator[Extract]:
    return _text(data.decode())


def spin(_: PurePath, data: bytes) -> Iterator[Extract]:
    while True:
        pass


def sleep(_: PurePath, data: bytes) -> Iterator[Extract]:
    time.sleep(3600)
    return _text("never")


def grow(_: PurePath, data: bytes) -> Iterator[Extract]:
    kept = []
    while True:
        kept.append(bytearray(b"x" * 10_000_000))


def segfault(_: PurePath, data: bytes) -> Iterator[Extract]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return _text("never")


def leave(_: PurePath, data: bytes) -> Iterator[Extract]:
    os._exit(3)


def flood(_: PurePath, data: bytes) -> Iterator[Extract]:
    while True:
        yield Extract("x" * 100_000, "prose", "text")


def chatter(_: PurePath, data: bytes) -> Iterator[Extract]:
    sys.stdout.write("noise\n" * 1000)
    sys.stdout.flush()
    os.write(1, b"more noise")
    return _text("said")


def surrogate(_: PurePath, data: bytes) -> Iterator[Extract]:
    return _text("broken \udc80 letter")


def odd(_: PurePath, data: bytes) -> Iterator[Extract]:
    raise KeyError("a parser's own surprise")


def connect(_: PurePath, data: bytes) -> Iterator[Extract]:
    socket.create_connection(("127.0.0.1", int(data)), timeout=5).close()
    return _text("connected")


def start(_: PurePath, data: bytes) -> Iterator[Extract]:
    return _text(subprocess.check_output(["/bin/echo", "started"], text=True))


def write(path: PurePath, data: bytes) -> Iterator[Extract]:
    Path(path).with_suffix(".out").write_bytes(b"x" * 10_000)
    return _text("written")


def environment(_: PurePath, data: bytes) -> Iterator[Extract]:
    return _text(" ".join(sorted(os.environ)))
