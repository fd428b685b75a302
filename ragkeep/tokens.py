"""Count tokens as the default embedder does, without torch and without running its tokenizer over every text.

WordPiece never looks across white space or punctuation: a text's tokens are those of its words, one after the other. So
a text is cut into words by one regular expression, each distinct word is tokenized once in the life of the process,
and the counts are summed. `measure(text)` agrees exactly with `tokenizers` on whole texts (tests/test_tokens.py) and
costs a third of it on new text, a seventh once the vocabulary of a corpus has been seen (benchmarks/chunking.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .models import packaged_minilm

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BLOCK = 1 << 20  # characters cut into words at a time: bounds what a huge file holds in memory
_REMEMBERED = 400_000  # words; about 40 MB
_UNREAD = 100  # WordPiece reads a longer word as one unknown token; its size counts by characters instead

# Each of these characters is a token's edge to BERT's pre-tokenizer (its own word, or punctuation); so is the
# edge of ASCII white space. Other characters BERT drops or splits at are left inside a piece: it is tokenized whole.
_PUNCTUATION = r"!-/:-@\[-`{-~"
_SINGLE = (
    r"\u2013\u2014\u2018\u2019\u201c\u201d\u3001-\u3003\u3008-\u3011"
    r"\u3400-\u4dbf\u4e00-\u9fff\uff01\uff0c\uff1b\uff1f"
)
_PIECE = re.compile(rf"[ \t\n\r]*(?:[^ \t\n\r{_PUNCTUATION}{_SINGLE}]+|[{_PUNCTUATION}]+|[{_SINGLE}])|[ \t\n\r]+")
_SPACE = re.compile(r"[ \t\n\r]")


@cache
def tokenizer() -> Tokenizer:
    """Load the default embedder's tokenizer from its package, without importing that. Raises ModelError."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(packaged_minilm() / "tokenizer.json"))
    made.no_truncation()
    made.no_padding()
    return made


def count(text: str) -> int:
    """Count the tokens of a text by running the tokenizer, special tokens left out."""
    return len(tokenizer().encode(_encodable(text), add_special_tokens=False))


def _encodable(text: str) -> str:
    """Put the replacement character, which counts nothing, for halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", text)
    return text


_counts: dict[str, int] = {}


def _count_pieces(pieces: list[str]) -> NDArray[np.int64]:
    """Look up each piece's tokens; what is new is learned in one batch. The memory starts again when it is full."""
    try:
        return np.fromiter(map(_counts.__getitem__, pieces), np.int64, len(pieces))
    except KeyError:
        new = {piece for piece in pieces if piece not in _counts}
    if len(_counts) + len(new) > _REMEMBERED:
        _counts.clear()
        new = set(pieces)
    words = list(new)
    found = tokenizer().encode_batch_fast([_encodable(w) for w in words], add_special_tokens=False)
    _counts.update(zip(words, map(len, found), strict=True))
    return np.fromiter(map(_counts.__getitem__, pieces), np.int64, len(pieces))


def forget() -> None:
    """Empty the memory of words, as in a fresh process."""
    _counts.clear()


@dataclass(frozen=True, slots=True)
class Ruler:
    """Tokens along one text. All arrays are int64, shape (pieces + 1,), the first value 0.

    `ends` are character offsets at which the text may be cut without changing a count, `tokens` the tokens before
    each. `sizes` is the same as `tokens`, but a word too long for the tokenizer counts a quarter of its characters.
    """

    ends: NDArray[np.int64]
    tokens: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def sizes_before(self, offsets: Sequence[int]) -> list[int]:
        """Give the size of the text before each offset; a cut inside a long word divides its size."""
        at, index = np.asarray(offsets, np.int64), self._index(offsets)
        after = np.minimum(index + 1, len(self.ends) - 1)
        inside = np.where(self.ends[after] - self.ends[index] > _UNREAD, (at - self.ends[index]) // 4, 0)
        return (self.sizes[index] + inside).tolist()  # type: ignore[no-any-return]

    def tokens_before(self, offsets: Sequence[int]) -> list[int]:
        """Give the tokens before each offset; a word cut by the offset is not counted."""
        return self.tokens[self._index(offsets)].tolist()  # type: ignore[no-any-return]

    def at_edge(self, offsets: Sequence[int]) -> list[bool]:
        """Say of each offset whether a word ends there."""
        return (self.ends[self._index(offsets)] == offsets).tolist()  # type: ignore[no-any-return]

    def cuts(self, start: int, end: int) -> list[int]:
        """List the offsets inside (start, end) where words end."""
        first, last = self._index([start, end - 1])
        return self.ends[first + 1 : last + 1].tolist()  # type: ignore[no-any-return]

    def _index(self, offsets: Sequence[int]) -> NDArray[np.int64]:
        return np.searchsorted(self.ends, np.asarray(offsets, np.int64), side="right") - 1


def measure(text: str) -> Ruler:
    """Tokenize a text once: its Ruler."""
    lengths, counts = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    start = 0
    while start < len(text):
        space = _SPACE.search(text, start + _BLOCK) if len(text) - start > _BLOCK else None
        stop = space.start() if space else len(text)
        pieces = _PIECE.findall(text, start, stop)
        lengths.append(np.fromiter(map(len, pieces), np.int64, len(pieces)))
        counts.append(_count_pieces(pieces))
        start = stop
    length, tokens = np.concatenate(lengths), np.concatenate(counts)
    sizes = np.where(length > _UNREAD, np.maximum(tokens, length // 4), tokens)
    return Ruler(np.cumsum(length), np.cumsum(tokens), np.cumsum(sizes))
