"""The sandbox's child: gives up what it must not have, then reads files until its pipe closes.

Started by sandbox.py as `python -m ragkeep.sandbox`; never imported by the parent.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from blake3 import blake3

from .loaders import Unreadable, load

CLONE_NEWUSER, CLONE_NEWNET, PR_SET_NO_NEW_PRIVS = 0x10000000, 0x40000000, 38
RECYCLE_SHARE = 0.6
PAGE_MB = resource.getpagesize() / (1 << 20)
_FORBIDDEN = frozenset(
    {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
     "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"}
)  # fmt: skip


def serve(timeout_s: float, memory_mb: int, max_chars: int, *, ready: bytes) -> None:
    """Answer batches of requests on standard input until it closes."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)  # whatever a library prints must not look like a reply
    confine(memory_mb)
    replies.write(ready)
    replies.flush()
    while batch := _next(requests):
        for request in batch:
            allow_cpu(timeout_s)
            reply = answer(request, max_chars)
            if _rss_mb() > RECYCLE_SHARE * memory_mb:
                reply["recycle"] = True
            replies.write(_frame(reply))
            # Flushed one by one: a reply held back would be lost with the child, and its document blamed.
            replies.flush()
            if "recycle" in reply:
                return


def confine(memory_mb: int) -> None:
    """Limit memory, files, processes, and cut the network off."""
    no_network()
    for which, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_DATA, memory_mb << 20),
        (resource.RLIMIT_AS, (memory_mb + 1024) << 20),  # address space also counts libraries mapped from disk
    ):
        hard = resource.getrlimit(which)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (limit, limit))


def no_network() -> bool:
    """Move to a network namespace without interfaces; True where the kernel allowed it.

    Everywhere, Python's own way to sockets and processes is refused as well.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    cut: bool = libc.unshare(CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    sys.addaudithook(_refuse)
    return cut


def _refuse(event: str, _: tuple[object, ...]) -> None:
    if event in _FORBIDDEN:
        raise PermissionError(f"a document reader may not do this: {event}")


def allow_cpu(seconds: float) -> None:
    """Give this process so many more seconds of CPU; the kernel ends it with SIGXCPU after them."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def answer(request: dict[str, Any], max_chars: int) -> dict[str, Any]:
    """Read one file; every way in which that can fail becomes a reason."""
    path = Path(os.fsdecode(request["path"].encode("latin-1")))
    try:
        data = read_bytes(path, request["size"], request["sha"])
        return extract(path, data, request["loader"], max_chars)
    except Unreadable as error:
        return _refused(error.reason, error.detail)
    except OSError as error:
        return _refused("unreadable", f"{error.strerror or error}")
    except MemoryError:
        return {**_refused("memory", "reading it needs more memory than a document may"), "recycle": True}
    except RecursionError:
        return _refused("damaged", "nested too deeply")
    except Exception as error:  # a parser's own exception: any type, any time
        return _refused("damaged", f"{type(error).__name__}: {error}")


def read_bytes(path: Path, size: int, sha: str) -> bytes:
    """Read a whole file once. Raises Unreadable("changed") when it is not the file that was listed."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe put in its place must not block
    try:
        limit = size if size >= 0 else os.fstat(fd).st_size
        data = os.read(fd, limit + 1)
        while len(data) <= limit and (more := os.read(fd, limit + 1 - len(data))):
            data += more
    finally:
        os.close(fd)
    if (size >= 0 and len(data) != size) or (sha and blake3(data).hexdigest(16) != sha):
        raise Unreadable("changed", "the file changed after it was listed: the next run will read it")
    if not data:
        raise Unreadable("empty", "the file has no bytes")
    return data


def extract(path: Path, data: bytes, loader: str, max_chars: int) -> dict[str, Any]:
    """Run a loader and pack what it gave; several extracts of one file are joined by an empty line."""
    parts = list(_bounded(load(loader)(path, data), max_chars))
    if not parts or not any(part["text"].strip() for part in parts):
        raise Unreadable("empty", "the file holds no text")
    if len(parts) > 1:
        parts[0]["text"] = "\n\n".join(part["text"] for part in parts)
    return parts[0]


def _bounded(extracts: Iterator[Any], max_chars: int) -> Iterator[dict[str, Any]]:
    total = 0
    for one in extracts:
        total += len(one.text)
        if total > max_chars:
            raise Unreadable("too_large_output", f"it holds more than {max_chars:,} characters of text")
        yield {
            "text": one.text, "kind": one.kind, "language": one.language,
            "first_line": one.first_line, "meta": one.meta,
        }  # fmt: skip


def _refused(reason: str, detail: str) -> dict[str, Any]:
    clean = " ".join(detail.encode("utf-8", "replace").decode().split())
    return {"reason": reason, "detail": clean[:300]}


def _next(stream: BinaryIO) -> list[dict[str, Any]] | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    batch: list[dict[str, Any]] = orjson.loads(stream.read(int.from_bytes(head, "little")))
    return batch


def _frame(value: Any) -> bytes:
    try:
        data = orjson.dumps(value)
    except TypeError:  # lone surrogates, from escapes in JSON or broken fonts
        data = orjson.dumps(_clean(value))
    return len(data).to_bytes(4, "little") + data


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _rss_mb() -> float:
    fd = os.open("/proc/self/statm", os.O_RDONLY)  # once a document, so as cheap as can be
    pages = int(os.read(fd, 200).split()[1])
    os.close(fd)
    return pages * PAGE_MB
