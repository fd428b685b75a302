"""int8 weights and activations for an OpenVINO graph: post-training quantisation with NNCF and SmoothQuant.

Xiao et al. 2023, "SmoothQuant", section 4. Calibrated on fixed passages of this Python's own manual and library, so
that the same Python gives the same model whatever the corpus is; the passages' hash is part of the fingerprint.
It pays only on processors with VNNI or AMX (see docs), and must pass the gate like any other change of vectors.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingExtra
from ..types import content_id

_MODULES = (
    "argparse",
    "calendar",
    "csv",
    "dataclasses",
    "datetime",
    "fractions",
    "ipaddress",
    "shutil",
    "tarfile",
    "textwrap",
)
_EACH = 75
_CHARS = 700


@functools.cache
def calibration_texts() -> list[str]:
    """150 passages of about 170 tokens: half prose (the language reference), half code (the library)."""
    from pydoc_data import topics

    prose = "\n\n".join(text for _, text in sorted(topics.topics.items()))
    library = Path(sysconfig.get_paths()["stdlib"])
    code = "\n\n".join(
        (library / f"{name}.py").read_text(encoding="utf-8") for name in _MODULES if (library / f"{name}.py").is_file()
    )
    return [*_spread(prose), *_spread(code)]


def calibration_id() -> str:
    """Eight hex digits that name the calibration passages."""
    return content_id(json.dumps(calibration_texts()))[:8]


def quantize(graph: Any, rows: list[list[int]]) -> Any:
    """Quantise a graph of input `ids` on tokenized passages; takes about a minute of CPU. Raises MissingExtra."""
    try:
        import nncf
    except ImportError:
        raise MissingExtra("embed.precision int8", "int8") from None
    nncf.set_log_level(logging.ERROR)
    data = nncf.Dataset(rows, lambda row: {"ids": np.array([row], np.int32)})
    with contextlib.redirect_stdout(sys.stderr):  # its progress bars; stdout is the answer's
        return nncf.quantize(
            graph,
            data,
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(rows),
            # pooled and scaled values in 256 steps cost short texts 5 % of their cosine and save nothing
            ignored_scope=nncf.IgnoredScope(types=["ReduceMean", "NormalizeL2"], validate=False),
        )


def _spread(text: str) -> list[str]:
    step = max(len(text) // _EACH, 1)
    return [text[begin : begin + _CHARS] for begin in range(0, step * _EACH, step)]
