"""Charts of office documents as tables, from the values that the program kept beside the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.etree import ElementTree as ET

from .archive import Archive, attribute, child, local
from .markdown import pipe_table


def charts(archive: Archive, relations: dict[str, tuple[str, str]]) -> list[str]:
    """Title and table of every chart that a part leads to, in order of its name."""
    names = sorted({name for kind, name in relations.values() if kind == "chart" and name in archive})
    return [text for name in names for text in _chart(archive.xml(name)) if text]


def _chart(root: ET.Element) -> Iterator[str]:
    chart = child(root, "chart")
    yield _text(child(chart, "title"))
    series = [one for one in root.iter() if local(one) == "ser"]
    if not series:
        return
    labels = _points(child(series[0], "cat") or child(series[0], "xVal"))
    columns = [_points(child(one, "val") or child(one, "yVal")) for one in series]
    header = ["", *(" ".join(_points(child(one, "tx")).values()) for one in series)]
    used = sorted(set(labels).union(*columns))
    yield pipe_table([header, *([labels.get(i, ""), *(column.get(i, "") for column in columns)] for i in used)])


def _points(element: ET.Element | None) -> dict[int, str]:
    """Cached values by their index."""
    found: Iterable[ET.Element] = element.iter() if element is not None else ()
    points = [one for one in found if local(one) == "pt"]
    return {
        int(index): (value.text or "").strip()
        for one in points
        if (value := child(one, "v")) is not None and (index := attribute(one, "idx", "0")).isdecimal()
    }


def _text(element: ET.Element | None) -> str:
    return "" if element is None else "".join(one.text or "" for one in element.iter() if local(one) == "t").strip()
