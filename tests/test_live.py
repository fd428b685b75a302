"""Uploads and deletions searched as if the index held them: the same hits as of an index built with them."""

from pathlib import Path

import pytest

from ragkeep.live import LiveDocuments, LiveView, Upload
from ragkeep.stores.memory import MemoryStore
from ragkeep.testing import HashEmbedder
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, Hit, IndexVersion, Mode, Query, Release, content_id, ids_digest
from tests.serving.published import chunks_of

EMBEDDER = HashEmbedder()
OLD = {
    "manual/pumps.md": "# Pumps\n\nPumps are serviced yearly by the vendor.\n",
    "manual/valves.md": "# Valves\n\nValves are checked daily by the crew.\n",
    "manual/lids.md": "# Lids\n\nOpen the lid before you start the engine.\n",
}
NEW = "# Turbines\n\nThe turbine of the blue mill turns at forty rounds a minute.\n"


def index(store: MemoryStore, chunks: list[Chunk], name: str = "docs-1") -> Release:
    """Write and seal a version, and a release of it."""
    store.create(name, dim=EMBEDDER.dim)
    vectors = EMBEDDER.embed([chunk.embed_text for chunk in chunks], role="passage")
    store.write(name, EmbeddedBatch(tuple(chunks), vectors))
    store.finish(name)
    digest = ids_digest(chunk.id for chunk in chunks)
    version = IndexVersion(name, "docs", "memory", EMBEDDER.fingerprint, EMBEDDER.dim, len(chunks), digest)
    store.seal(version)
    return Release(1, name, version, Fusion(), "extractive", {}, "", "", {}, "")


def upload(uri: str, text: str, workspace: str = "default") -> Upload:
    chunks = tuple(chunks_of({uri: text}, workspace))
    return Upload(workspace, uri, content_id(workspace, uri, text), lambda: chunks)


class Shelf:
    """A store with an index of OLD, and live documents beside it."""

    def __init__(self, folder: Path) -> None:
        self.store, self.live = MemoryStore(), LiveDocuments(folder / "live")
        self.release = index(self.store, chunks_of(OLD, "default"))

    def view(self) -> LiveView:
        return self.live.view(self.store, self.release, EMBEDDER)

    def ask(self, text: str, *, mode: Mode = "hybrid", k: int = 3, workspace: str = "default") -> list[Hit]:
        vector = EMBEDDER.embed([text], role="query")[0]
        query = Query(text, vector, k=k, mode=mode, workspace=workspace)
        return self.view().search(self.store, self.release.index.name, query)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_an_upload_is_found_first_by_its_own_words(shelf: Shelf, mode: Mode) -> None:
    shelf.live.put(upload("up/turbines.md", NEW))
    assert shelf.ask("how fast does the turbine of the mill turn", mode=mode)[0].chunk.uri == "up/turbines.md"
    assert shelf.ask("how often are pumps serviced", mode=mode)[0].chunk.uri == "manual/pumps.md"


def test_without_uploads_the_store_alone_answers(shelf: Shelf) -> None:
    assert shelf.view() == LiveView()
    assert [hit.chunk.uri for hit in shelf.ask("pumps serviced yearly", k=1)] == ["manual/pumps.md"]


def test_a_deleted_document_is_not_shown_and_does_not_leave_a_gap(shelf: Shelf) -> None:
    shelf.live.remove("default", "manual/pumps.md")
    found = shelf.ask("pumps are serviced yearly by the vendor", k=2)
    assert [hit.chunk.uri for hit in found] == ["manual/valves.md", "manual/lids.md"]


def test_a_new_edition_takes_the_place_of_the_indexed_one(shelf: Shelf) -> None:
    shelf.live.put(upload("manual/pumps.md", "# Pumps\n\nPumps are serviced monthly by the owner.\n"))
    found = shelf.ask("how often are pumps serviced", k=5)
    assert ["monthly" in hit.chunk.text for hit in found if hit.chunk.uri == "manual/pumps.md"] == [True]


def test_an_upload_that_the_index_holds_already_needs_no_help(shelf: Shelf) -> None:
    shelf.live.put(upload("manual/pumps.md", OLD["manual/pumps.md"]))
    assert shelf.view().chunks == 0
    assert len([hit for hit in shelf.ask("pumps", k=5) if hit.chunk.uri == "manual/pumps.md"]) == 1


def test_an_upload_stays_in_its_workspace(shelf: Shelf) -> None:
    shelf.live.put(upload("up/turbines.md", NEW, workspace="vault"))
    assert "up/turbines.md" not in {hit.chunk.uri for hit in shelf.ask("turbine of the mill", k=10)}
    assert [hit.chunk.uri for hit in shelf.ask("turbine of the mill", k=10, workspace="vault")] == ["up/turbines.md"]


def test_a_view_does_not_change_and_its_mark_tells_it_from_the_next(shelf: Shelf) -> None:
    shelf.live.put(upload("up/turbines.md", NEW))
    before = shelf.view()
    shelf.live.remove("default", "up/turbines.md")
    after = shelf.live.view(shelf.store, shelf.release, EMBEDDER, base=before)
    assert (before.chunks, after.chunks) == (1, 0)
    assert before.state("default") != after.state("default")


def test_of_a_view_what_did_not_change_is_not_built_again(shelf: Shelf) -> None:
    shelf.live.put(upload("up/turbines.md", NEW))
    before = shelf.view()
    shelf.live.put(upload("up/other.md", "# Other\n\nSomething else.\n", workspace="vault"))
    after = shelf.live.view(shelf.store, shelf.release, EMBEDDER, base=before)
    assert after.segments["default"] is before.segments["default"]
    assert after.chunks == 2


def test_where_much_is_hidden_the_rest_of_the_index_is_still_found(tmp_path: Path) -> None:
    many = {f"manual/old-{n:03}.md": f"# Old {n}\n\nThe mill of the turbine number {n}.\n" for n in range(120)}
    shelf = Shelf(tmp_path)
    shelf.release = index(shelf.store, chunks_of({**OLD, **many}, "default"), "docs-2")
    for uri in many:
        shelf.live.remove("default", uri)
    shelf.live.put(upload("up/turbines.md", NEW))
    found = [hit.chunk.uri for hit in shelf.ask("the mill of the turbine", k=4)]
    assert found[0] == "up/turbines.md"
    assert set(found[1:]) == set(OLD)


def test_the_text_of_a_deleted_upload_is_not_kept(shelf: Shelf) -> None:
    shelf.live.put(upload("up/turbines.md", NEW))
    shelf.view()
    shelf.live.remove("default", "up/turbines.md")
    assert shelf.live._batches == {}
