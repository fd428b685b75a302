"""The binary form of JSON that bulk requests are written in, by its specification; real servers read it elsewhere."""

import numpy as np
import pytest

from ragkeep.stores import smile


@pytest.mark.parametrize(
    ("number", "written"), [(1.0, "28037c000000"), (-0.0, "280800000000"), (0.1, "28036e33194d"), (1e-45, "280000000001")]
)
def test_a_number_is_its_32_bits_by_sevens(number: float, written: str) -> None:
    assert smile.float_rows(np.array([[number]], np.float32)).tobytes().hex() == written


@pytest.mark.parametrize(("size", "length"), [(0, "80"), (63, "bf"), (64, "0180"), (8191, "7fbf"), (8192, "010080")])
def test_bytes_go_as_they_are_behind_their_length(size: int, length: str) -> None:
    assert smile.raw(b"x" * size) == b"\xfd" + bytes.fromhex(length) + b"x" * size


def test_no_part_holds_the_byte_that_separates_documents() -> None:
    rows = np.random.default_rng(1).integers(0, 1 << 32, size=(64, 64), dtype=np.uint32).view(np.float32)
    data = "ÿ\u00ff\uffff\U0010ffff\x00".encode()
    parts = (smile.START, smile.END, smile.key("k" * 64), smile.text(data), smile.raw(data * 999))
    assert smile.SEPARATOR not in b"".join((*parts, smile.float_rows(rows).tobytes()))
