"""Does an embedder still make the vectors it made? A few fixed texts, embedded anew and held against what they were.

An embedder is known by its fingerprint, and what the fingerprint cannot see changes behind its back: weights at an
endpoint, a library mended or broken within a version, another processor. The vectors of TEXTS are kept under the
fingerprint when it is first seen; `check` embeds them again. Costs one start of the model and sixteen short texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from .embedders import query_fingerprint
from .files import read_arrays, write_arrays
from .ports import Embedder
from .types import Role, Vectors, content_id

MOVED = 1e-3
"""A cosine distance no rounding explains: ports.Embedder allows 1e-4 between batchings, and bf16 stays within that."""
OTHER = 1e-2
"""Another model: eight-bit weights of the same model move a vector by .0065, and from here on one in twenty of the ten
nearest is another one (`python -m benchmarks.drift`)."""
ROLES: tuple[Role, ...] = ("passage", "query")
TEXTS = (
    "How do I make a temporary directory?",
    "what does error 42 mean",
    "refund policy for orders placed before March",
    "Open the lid before you start the engine.",
    "def read(path: Path) -> str:\n    return path.read_text(encoding='utf-8')",
    "SELECT name, count(*) FROM orders GROUP BY name HAVING count(*) > 3;",
    "The committee met on 4 July 2024 and approved the budget of $1,250,000 by seven votes to two.",
    "Die Wartung der Pumpen erfolgt jährlich durch den Hersteller.",
    "¿Cuáles son los efectos secundarios más frecuentes del medicamento?",
    "泵每年由供应商维修一次。",
    "كيف يمكنني إعادة تعيين كلمة المرور؟",
    "Install > From source\nClone the repository, then run the build with the flags listed below.",
    "| part | price |\n| --- | --- |\n| lid | 4.20 |\n| valve | 17.00 |",
    "a",
    "Symptoms include fever, a dry cough and tiredness. " * 12,
    "Photosynthesis turns light into chemical energy, which plants store as sugar and release when they breathe.",
)


@dataclass(frozen=True, slots=True)
class Canary:
    """How far the texts' vectors moved: the largest cosine distance, 0..2, since they were kept (`since`, ISO 8601).

    0.0, since now, where they are seen for the first time.
    """

    fingerprint: str
    distance: float
    since: str

    @property
    def state(self) -> Literal["same", "moved", "other"]:
        """Whether it is the same embedder, one that moved a little, or another one."""
        return "same" if self.distance < MOVED else "moved" if self.distance < OTHER else "other"


def check(embedder: Embedder, folder: Path) -> Canary:
    """Embed the texts and hold them against what is kept under `folder`; keep them there at the first time.

    Raises what the embedder raises.
    """
    made = {role: embedder.embed(TEXTS, role=role) for role in ROLES}
    path = kept_at(embedder, folder)
    kept = read_arrays(path, lambda found: ({role: found[role] for role in ROLES}, str(found["since"])))
    if kept is None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_arrays(path, **made, since=np.array(now))
        return Canary(query_fingerprint(embedder), 0.0, now)
    before, since = kept
    return Canary(query_fingerprint(embedder), max(_distance(before[role], made[role]) for role in ROLES), since)


def kept_at(embedder: Embedder, folder: Path) -> Path:
    """Name the file of an embedder's vectors; other texts are other files."""
    return folder / f"canary-{content_id(embedder.fingerprint, query_fingerprint(embedder), *TEXTS)[:16]}.npz"


def _distance(before: Vectors, now: Vectors) -> float:
    if before.shape != now.shape:
        return 2.0
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(now, axis=1)
    if not (np.isfinite(lengths).all() and lengths.all()):
        return 2.0
    cosines = np.einsum("nd,nd->n", before.astype(np.float64), now.astype(np.float64)) / lengths
    return max(0.0, round(1.0 - float(cosines.min()), 7))
