"""The web pages that sources name, brought here before the scan looks: one file a page, the last good copy of each.

A page is asked for with the validators of its copy, so one that did not change costs a request. One that cannot be had
keeps its copy and is named; one that is gone (404, 410), or that no source names any more, loses it: the night sees a
file less.
Nothing is asked for unless a source of params.yaml has `urls`.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from ragkeep.config import Params, Paths, SourceParams
from ragkeep.files import read_json, replacing, write_json
from ragkeep.loaders import loader_for
from ragkeep.types import content_id
from tasks.fetching import Fetcher, FetchError, Page, PageGone

log = logging.getLogger(__name__)
RESTS_S = 60.0
"""A page is left alone for so long: a night looks at its sources more than once."""
GIVEN_UP = 3
"""A host that failed so often in a row is not asked for the rest of its pages."""
SUFFIXES = {
    "text/html": ".html", "application/xhtml+xml": ".html", "text/plain": ".txt", "text/markdown": ".md",
    "application/pdf": ".pdf", "application/json": ".json", "text/csv": ".csv", "application/xml": ".xml",
    "text/xml": ".xml",
}  # fmt: skip
VAGUE = ("", "text/plain", "application/octet-stream")
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of it: how many pages are here, changed, are gone; and which could not be had, with the reason."""

    pages: int = 0
    changed: int = 0
    gone: int = 0
    failed: tuple[tuple[str, str], ...] = ()

    def as_stats(self) -> dict[str, Any]:
        """Say it as a stage's statistics."""
        said: dict[str, Any] = {"pages": self.pages, "pages_changed": self.changed, "pages_gone": self.gone}
        away = "; ".join(f"{url}: {why}" for url, why in self.failed[:5])
        return said | ({"pages_failed": len(self.failed), "failed": away} if self.failed else {})


@dataclass(frozen=True, slots=True)
class _Copy:
    """What is known of a page: where its copy lies ("" : there is none), and the validators of the URL it came from."""

    file: str = ""
    sha: str = ""
    url: str = ""
    etag: str = ""
    last_modified: str = ""
    checked_at: float = 0.0
    fetched_at: str = ""
    failed: str = ""


def fetch_pages(
    paths: Paths, params: Params, *, fetcher: Fetcher | None = None, clock: Callable[[], float] = time.time
) -> Fetched:
    """Bring every page that a source names here, in order, one at a time. Raises OSError."""
    found = Fetched()
    for source in params.sources:
        if source.urls:
            own = fetcher or Fetcher(params.ingest.max_file_bytes)
            one = _Source(source, paths, own, clock).fetch()
            failed = (*found.failed, *one.failed)
            found = Fetched(found.pages + one.pages, found.changed + one.changed, found.gone + one.gone, failed)
    return found


def away(paths: Paths, params: Params) -> list[str]:
    """Name the pages that could not be had when they were last asked for, each with why; a night says it once more."""
    known = [
        (url, read_json(paths.pages / f"{source.name}.json") or {}) for source in params.sources for url in source.urls
    ]
    return [f"{url}: {rows[url]['failed']}" for url, rows in known if rows.get(url, {}).get("failed")]


class _Source:
    """One source's pages: `<state>/pages/<name>/`, and beside it `<name>.json`, which says what each is."""

    def __init__(self, source: SourceParams, paths: Paths, fetcher: Fetcher, clock: Callable[[], float]) -> None:
        self.urls, self.fetcher, self.clock = tuple(dict.fromkeys(source.urls)), fetcher, clock
        self.folder, self.ledger = paths.pages / source.name, paths.pages / f"{source.name}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stems = file_stems(self.urls)
        self.failures = Counter[str]()
        rows = (read_json(self.ledger) or {}).items()
        self.copies = {url: _Copy(**row) for url, row in rows}

    def fetch(self) -> Fetched:
        """Ask for each page that has not been asked for just now; forget those that are not named any more."""
        before = dict(self.copies)
        self.copies = {url: copy for url, copy in before.items() if url in self.stems}
        try:
            for url in self.urls:
                if self.clock() - self._known(url).checked_at >= RESTS_S:
                    self.copies[url] = self._look(url)
        finally:
            if self.copies != before:  # the files are there already: a ledger that lags behind only asks again
                write_json(self.ledger, {url: asdict(copy) for url, copy in sorted(self.copies.items())})
            self._sweep()
        files = [copy for copy in self.copies.values() if copy.file]
        changed = sum(copy.sha != before.get(url, _Copy()).sha for url, copy in self.copies.items() if copy.file)
        gone = sum(bool(copy.file) for url, copy in before.items() if not self._known(url).file)
        failed = tuple((url, self._known(url).failed) for url in self.urls if self._known(url).failed)
        return Fetched(len(files), changed, gone, failed)

    def _sweep(self) -> None:
        """Remove what is no page's copy: of pages that are gone, and of a run that was killed."""
        kept = {self.folder / copy.file for copy in self.copies.values() if copy.file}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path not in kept:
                path.unlink()

    def _known(self, url: str) -> _Copy:
        return self.copies.get(url, _Copy())

    def _look(self, url: str) -> _Copy:
        """Ask for a page; whatever comes of it is what is known from now on."""
        known, host = self._known(url), urlsplit(url).netloc
        if self.failures[host] >= GIVEN_UP:
            return self._failed(url, f"{host} failed {GIVEN_UP} times and was not asked again")
        whole = known.file and _sha(self.folder / known.file) == known.sha
        last = Page(known.url, None, etag=known.etag, last_modified=known.last_modified) if whole else None
        try:
            page = self.fetcher.fetch(url, last)
            copy = known if page.body is None else self._keep(url, page, page.body)
        except PageGone as error:
            log.warning("page %s is gone: %s", url, error)
            return _Copy(checked_at=self.clock(), failed="" if known.file else str(error))
        except FetchError as error:
            self.failures[host] += 1
            return self._failed(url, str(error))
        self.failures[host] = 0
        return replace(
            copy, url=page.url, etag=page.etag or copy.etag, last_modified=page.last_modified or copy.last_modified,
            checked_at=self.clock(), failed="",
        )  # fmt: skip

    def _keep(self, url: str, page: Page, body: bytes) -> _Copy:
        """Write a page's file. Raises FetchError for what no loader reads."""
        suffix = _suffix(page)
        if not suffix:
            raise FetchError(f"{page.media_type or 'what came'} is no kind of document that can be read")
        name = self.stems[url] + suffix
        if not body.strip():
            raise FetchError("it is empty")
        if _sha(self.folder / name) != _hash(body):
            with replacing(self.folder / name) as new:
                new.write_bytes(body)
        return _Copy(file=name, sha=_hash(body), fetched_at=datetime.now(UTC).isoformat(timespec="seconds"))

    def _failed(self, url: str, why: str) -> _Copy:
        known = self._known(url)
        kept = f"; its copy of {known.fetched_at} is kept" if known.file else ""
        log.warning("page %s could not be had: %s%s", url, why, kept)
        return replace(known, checked_at=self.clock(), failed=why)


def _hash(data: bytes) -> str:
    return blake3(data).hexdigest(16)


def _sha(path: Path) -> str:
    try:
        return _hash(path.read_bytes())
    except OSError:
        return ""


def _suffix(page: Page) -> str:
    """What kind of file a page is, by what the server says; by its own name where that says little. "" for none."""
    own = _own_suffix(urlsplit(page.url).path)
    return own or SUFFIXES.get(page.media_type, "") if page.media_type in VAGUE else SUFFIXES.get(page.media_type, "")


def _own_suffix(path: str) -> str:
    suffix = PurePosixPath(path).suffix
    return suffix if suffix and loader_for(PurePosixPath(f"a{suffix}")) else ""


def file_stems(urls: Sequence[str]) -> dict[str, str]:
    """Name a file, its suffix aside, for each URL, so that a reader knows it again: "docs.example.org/guide/install".

    What is odd, not https, or would be called like another has a hash of its URL in its name.
    """
    names = {url: _stem(url) for url in urls}
    alike = Counter(name.lower() for name, _ in names.values())
    return {
        url: name if plain and alike[name.lower()] == 1 else f"{name}-{content_id(url)[:10]}"
        for url, (name, plain) in names.items()
    }


def _stem(url: str) -> tuple[str, bool]:
    """Return a name made of a URL's host and path, and whether it says all there is to say."""
    parts = urlsplit(url)
    path = unquote(parts.path).strip("/").removesuffix(_own_suffix(parts.path)) or "index"
    pieces = [str(parts.hostname), *path.split("/")][:20]
    clean = [piece if _PLAIN.fullmatch(piece) else re.sub(r"[^A-Za-z0-9_-]+", "_", piece)[:60] or "_" for piece in pieces]
    whole = clean == pieces and len(pieces) < 20
    return "/".join(clean), whole and parts.scheme == "https" and not parts.query and parts.port is None
