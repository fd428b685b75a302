"""A process that dies of -9 at the nth of the things it does to files, as often as a test wants it."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any


def count_and_kill(die_at: int, *others: tuple[Any, str]) -> list[int]:
    """Count fsyncs and renames, and calls of `others` (an object, its attribute's name); die at the nth, never at 0.

    Returns the count so far, in a list that grows with it.
    """
    seen = [0]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            seen[0] += 1
            if seen[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    for where, name in ((os, "fsync"), (os, "rename"), (os, "replace"), *others):
        setattr(where, name, counted(getattr(where, name)))
    return seen


def in_a_fork(work: Callable[[], object]) -> int:
    """Do something in a process of its own, with all that is imported here; returns how it ended, as subprocess does.

    Only for a process without threads that hold locks.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
