"""JSON's binary form (SMILE), as far as a bulk request to OpenSearch needs it.

A vector's numbers go as their bits, 6 bytes each, instead of some 11 characters that both sides convert, and bytes go
as they are. https://github.com/FasterXML/smile-format-specification

No byte 0xFF may stand inside a document, for it separates documents: none of the parts below makes one, as long as raw
bytes are UTF-8, which has none either.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Vectors

START, END, SEPARATOR = b":)\n\x04\xfa", b"\xfb", b"\xff"
"""Begin a document (its fields follow), end it, and what stands behind each in a bulk request."""
OBJECT, ARRAY, ARRAY_END = b"\xfa", b"\xf8", b"\xf9"
FLOAT_BYTES = 6


@lru_cache(maxsize=1024)
def key(name: str) -> bytes:
    """Write a field's name: 1 to 64 characters of ASCII."""
    return bytes([0x7F + len(name)]) + name.encode("ascii")


def text(data: bytes) -> bytes:
    """Write a string, given as UTF-8."""
    return b"\xe4" + data + b"\xfc" if data else b"\x20"


def raw(data: bytes) -> bytes:
    """Write bytes that are UTF-8 as a binary value."""
    size = len(data)
    length = [0x80 | (size & 0x3F)]  # six bits and a mark in the last byte, seven in those before
    size >>= 6
    while size:
        length.append(size & 0x7F)
        size >>= 7
    return b"\xfd" + bytes(reversed(length)) + data


def float_rows(vectors: Vectors) -> NDArray[Any]:
    """Write the numbers of each row, shape (n, dim), as uint8 of shape (n, 6 * dim): a token and 32 bits by sevens."""
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    made = np.empty((*bits.shape, FLOAT_BYTES), np.uint8)
    made[..., 0] = 0x28
    for place, shift in enumerate((28, 21, 14, 7, 0), 1):
        made[..., place] = (bits >> shift) & 0x7F
    return made.reshape(len(bits), -1)
