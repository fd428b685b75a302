"""Documents that people upload: kept as files, read in the background, in the answers within seconds, and a source of
the next night.

    uploads.accept("handbook", "pumps.md", data, by="key:1")     # durable: a record, a file, a job
    uploads.work_once()                                          # a worker's step: read, cut, show
    uploads.delete(document_id)                                  # out of the answers at once, out of everything after it

The files lie under `<state>/uploads/<workspace>/`, where the night finds them as source `uploads-<workspace>`.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import IO, cast

from blake3 import blake3

from .catalogs import document_id
from .chunkers import chunk_document
from .config import Params, Paths, upload_source
from .errors import AlreadyExists, NotFound, RequestError
from .files import fsync_dir, fsync_file
from .live import LiveDocuments, Upload
from .loaders import loader_for
from .ports import Catalog, Queue
from .sandbox import File, Limits, Refused, Sandbox
from .types import Change, Chunk, Document, DocumentRecord, Job, Kind, Workspace, content_id

log = logging.getLogger(__name__)
READ = 1 << 20


class TooLarge(RequestError):
    """An upload beyond `ingest.max_file_bytes`."""

    status = 413
    code = "too_large"


class Uploads:
    """The uploads of one server. `changed` is called whenever what is searched is no longer what it was."""

    def __init__(
        self,
        paths: Paths,
        params: Params,
        *,
        catalog: Catalog,
        queue: Queue,
        live: LiveDocuments,
        changed: Callable[[], None],
    ) -> None:
        self._paths, self._params = paths, params
        self.catalog, self.queue, self._live, self._changed = catalog, queue, live, changed
        self._reading = threading.Lock()

    def open(self) -> None:
        """Make the workspaces of params.yaml known, and take up what was uploaded before this server's start. Blocks."""
        for workspace in sorted({"default", *(source.workspace for source in self._params.sources)}):
            if self.catalog.workspace(workspace) is None:
                try:
                    self.catalog.create_workspace(Workspace(workspace, workspace, "local"))
                except AlreadyExists:  # deleted by a person, or made by another server meanwhile
                    continue
        self.queue.reclaim()
        at = 0
        while changes := self.catalog.changes(after=at):
            for change in changes:
                at = change.seq
                self._recall(change)
        self._changed()

    def _recall(self, change: Change) -> None:
        if change.action == "delete":
            if self.catalog.document(change.document.id) is None:
                self.forget(change.document)  # its file too: the deletion may have been cut short
            return
        record = self.catalog.document(change.document.id)
        if record is None or record.seq != change.seq:
            return
        if record.status == "processed":
            self._live.put(self._upload(record))
        elif record.status == "submitted":  # accepted, and killed before the job was there
            self.queue.put(Job(f"{record.id}.{record.seq}", record.workspace, {"document": record.id, "seq": record.seq}))

    def accept(self, workspace: str, name: str, data: IO[bytes], *, media_type: str = "") -> DocumentRecord:
        """Keep an upload; it is read in the background. `data` is read to its end.

        Raises RequestError on a name that cannot be kept, TooLarge, NotFound without the workspace, AlreadyExists.
        """
        name = checked_name(name)
        known = self.catalog.document(document_id(workspace, name))
        if known is not None and known.status != "error":
            raise AlreadyExists(f"this workspace has a document named {name!r}: delete it first")
        path = self._path(workspace, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        incoming = self._paths.state / "incoming"
        incoming.mkdir(exist_ok=True)
        new, size, sha = self._receive(incoming, data)
        try:
            uri = f"{upload_source(workspace)}/{name}"
            record = self.catalog.submit(DocumentRecord("", workspace, name, uri, media_type[:100], size, sha=sha))
            new.replace(path)
            fsync_dir(path.parent)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        self.queue.put(Job(f"{record.id}.{record.seq}", workspace, {"document": record.id, "seq": record.seq}))
        return record

    def _receive(self, folder: Path, data: IO[bytes]) -> tuple[Path, int, str]:
        """Write a stream to a file of its own, durably; return it with its size and hash."""
        fd, name = tempfile.mkstemp(dir=folder)
        new, size, digest, limit = Path(name), 0, blake3(), self._params.ingest.max_file_bytes
        try:
            with os.fdopen(fd, "wb") as file:
                while piece := data.read(READ):
                    size += len(piece)
                    if size > limit:
                        raise TooLarge(f"a document may have at most {limit:,} bytes: split it")
                    digest.update(piece)
                    file.write(piece)
            new.chmod(0o644)
            fsync_file(new)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        return new, size, digest.hexdigest(16)

    def work_once(self, *, wait_s: float = 0.0) -> bool:
        """Do one job, if there is one within `wait_s`; return whether there was. Blocks."""
        job = self.queue.take(wait_s=wait_s)
        if job is None:
            return False
        record = self.catalog.document(job.body["document"])
        if record is None or record.seq != job.body["seq"]:  # deleted or replaced since
            self.queue.done(job)
            return True
        try:
            self._process(record)
        except NotFound:  # deleted while it was read: out of the answers again
            self._live.remove(record.workspace, record.uri)
            self._changed()
            self.queue.done(job)
        except Exception as error:
            log.exception("document %s could not be processed", record.id)
            if self.queue.fail(job, f"{type(error).__name__}: {error}") and job.attempt >= self._params.serve.queue.tries:
                self._refuse(record, "processing failed again and again: the server's log says why")
        else:
            self.queue.done(job)
        return True

    def _process(self, record: DocumentRecord) -> None:
        found = self._read(record)
        if isinstance(found, Refused):
            self._refuse(record, f"{found.reason}: {found.detail}")
            return
        self._live.put(Upload(record.workspace, record.uri, found[0], lambda: found[1]))
        self._changed()
        self.catalog.update(record, status="processed", chunks=len(found[1]))

    def _refuse(self, record: DocumentRecord, reason: str) -> None:
        try:
            self.catalog.update(record, status="error", reason=reason[:500])
        except NotFound:
            return
        self._path(record.workspace, record.name).unlink(missing_ok=True)  # the night must not meet it again

    def _upload(self, record: DocumentRecord) -> Upload:
        id_ = content_id(record.workspace, record.uri, record.sha)

        def make() -> tuple[Chunk, ...]:
            found = self._read(record)
            return () if isinstance(found, Refused) else found[1]

        return Upload(record.workspace, record.uri, id_, make)

    def _read(self, record: DocumentRecord) -> tuple[str, tuple[Chunk, ...]] | Refused:
        """Parse and cut an upload as the night does, in the same sandbox with the same limits."""
        loader = loader_for(PurePath(record.name))
        if loader is None:
            kind = PurePath(record.name).suffix or record.name
            return Refused("unsupported", f"{kind} is no kind of file that can be read")
        path = self._path(record.workspace, record.name)
        ingest = self._params.ingest
        limits = Limits(ingest.timeout_s, ingest.memory_mb, ingest.max_chars)
        with self._reading, Sandbox(limits) as sandbox:
            [extract] = sandbox.read([File(path, loader[0], record.size, record.sha)])
        if isinstance(extract, Refused):
            return extract
        document = Document(
            id=content_id(record.workspace, record.uri, record.sha), uri=record.uri,
            source=upload_source(record.workspace), workspace=record.workspace, text=extract.text,
            kind=cast(Kind, extract.kind), language=extract.language, first_line=extract.first_line,
            meta=dict(extract.meta or {}),
        )  # fmt: skip
        return document.id, tuple(chunk_document(document, self._params.chunk))

    def delete(self, document: str) -> DocumentRecord:
        """Take a document out: at once of the answers, of the next index, and of the files. Raises NotFound."""
        record = self.catalog.delete(document)
        self.forget(record)
        self._changed()
        return record

    def forget(self, record: DocumentRecord) -> None:
        """Remove what a deleted record leaves: its file, and its place in the answers."""
        self._live.remove(record.workspace, record.uri)
        path = self._path(record.workspace, record.name)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            fsync_dir(path.parent)

    def _path(self, workspace: str, name: str) -> Path:
        return self._paths.uploads / workspace / name


def checked_name(name: str) -> str:
    """Return a file name that is safe to keep: what stands after the last slash. Raises RequestError."""
    name = name.replace("\\", "/").rpartition("/")[2].strip()
    if not name or name.startswith(".") or not name.isprintable() or len(name.encode("utf-8", "replace")) > 200:
        raise RequestError("a document needs a name of 1-200 printable characters that does not begin with a dot")
    return name
