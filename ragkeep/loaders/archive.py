"""Office documents are zip archives of XML: opened here, with their real size checked and no entity expanded.

A few hundred bytes of zip can declare, or hide, gigabytes; a part is refused by what it declares and again by what
it really expands to, before a parser sees it.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from xml.etree import ElementTree as ET

from . import Unreadable

MAX_PART = 40 << 20
MAX_TOTAL = 160 << 20
MAX_PARTS = 20_000
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Archive:
    """The parts of one document, read on demand within one budget of expanded bytes."""

    def __init__(self, data: bytes) -> None:
        """Open an archive. Raises Unreadable: encrypted, damaged, too_large_output."""
        if data.startswith(_OLE):
            raise Unreadable("encrypted", "an OLE container: it is protected by a password, or of an old binary format")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self.names = [info.filename for info in self._zip.infolist()]
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise Unreadable("damaged", f"not a readable archive: {error}") from None
        if len(self.names) > MAX_PARTS:
            raise Unreadable("too_large_output", f"an archive of {len(self.names):,} parts")
        self._present = set(self.names)
        self._spent = 0

    def __contains__(self, name: str) -> bool:
        return name in self._present

    def read(self, name: str) -> bytes:
        """Expand one part. Raises Unreadable; KeyError where there is no such part."""
        info = self._zip.getinfo(name)
        if info.flag_bits & 1:
            raise Unreadable("encrypted", "its parts are protected by a password")
        limit = min(MAX_PART, MAX_TOTAL - self._spent)
        if info.file_size > limit:
            raise Unreadable("too_large_output", f"{name} expands to {info.file_size:,} bytes")
        try:
            with self._zip.open(info) as part:
                data = part.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError) as error:
            raise Unreadable("damaged", f"{name} cannot be expanded: {error}") from None
        if len(data) > limit:
            raise Unreadable("too_large_output", f"{name} expands beyond {limit:,} bytes")
        self._spent += len(data)
        return data

    def xml(self, name: str) -> ET.Element:
        """Parse one part. Raises Unreadable; KeyError where there is no such part."""
        return parse_part(self.read(name), name)

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """Relations of an OOXML part: id -> (last word of its type, part it leads to); outside targets are left out."""
        folder, _, file = name.rpartition("/")
        listed = f"{folder}/_rels/{file}.rels" if folder else f"_rels/{file}.rels"
        if listed not in self:
            return {}
        return {
            relation.get("Id", ""): (
                relation.get("Type", "").rpartition("/")[2],
                _target(folder, relation.get("Target", "")),
            )
            for relation in self.xml(listed)
            if relation.get("TargetMode") != "External"
        }


def _target(folder: str, target: str) -> str:
    return target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))


def parse_part(data: bytes, name: str) -> ET.Element:
    """Parse a part of an office document; such parts never have a document type, so one is refused."""
    head = data[: 1 << 16].replace(b"\0", b"")  # UTF-16 shows the same letters once its zero bytes are gone
    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise Unreadable("damaged", f"{name} declares entities: refused, it could expand without end")
    try:
        return ET.fromstring(data)  # noqa: S314 - checked above: no document type, no entities
    except ET.ParseError as error:
        raise Unreadable("damaged", f"{name} is not well-formed: {error}") from None


def local(element: ET.Element) -> str:
    """Name without the namespace: transitional and strict documents differ only in that."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def attribute(element: ET.Element, name: str, default: str = "") -> str:
    """Value of an attribute, whatever its namespace."""
    found = element.get(name)
    if found is not None:
        return found
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), default)


def child(element: ET.Element | None, *names: str) -> ET.Element | None:
    """Follow names from child to child, ignoring namespaces; None where one is missing."""
    for name in names:
        if element is None:
            return None
        element = next((one for one in element if local(one) == name), None)
    return element


def core_title(archive: Archive) -> dict[str, object] | None:
    """`meta` with the title that the author gave the document, None where there is none."""
    for name in ("docProps/core.xml", "meta.xml"):
        if name in archive:
            for element in archive.xml(name).iter():
                if local(element) == "title" and (element.text or "").strip():
                    return {"title": re.sub(r"\s+", " ", element.text or "").strip()}
    return None
