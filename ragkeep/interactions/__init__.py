"""The append-only log of what was asked, shown, answered and rated: to explain every answer, and to learn from.

    with InteractionLog(paths.interactions) as log:
        seq = log.append(answered("a1", "How?", answer, workspace="docs", user="u1", session="s1"))
        log.append(voted("a1", 1, workspace="docs", user="u1", session="s1"))
    for record in read(paths.interactions, after=0, sealed=True): ...

`log` writes, `reading` reads, `segments` is the format on disk, `records` what a record holds, `erasure` takes a person
or a document out of it again.
"""

from .erasure import Erasure
from .log import InteractionLog
from .reading import erased_by, find, last_written, read, segments
from .records import answered, clicked, corrected, impressions, shadowed, voted
from .segments import Segment

__all__ = [
    "Erasure", "InteractionLog", "Segment", "answered", "clicked", "corrected", "erased_by", "find", "impressions",
    "last_written", "read", "segments", "shadowed", "voted",
]  # fmt: skip
