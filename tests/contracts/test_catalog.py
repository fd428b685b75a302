"""What every Catalog must do; a backend is done when it passes here."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ragkeep.catalogs import document_id, ensure_workspace, open_catalog, workspace_id, workspace_of
from ragkeep.config import is_id
from ragkeep.errors import AlreadyExists, ConfigError, NotFound, RequestError
from ragkeep.ports import Catalog
from ragkeep.serving.params import CatalogParams
from ragkeep.types import DocumentRecord, Workspace

Opener = Callable[[], Catalog]


@pytest.fixture(params=["sqlite", "dynamodb"])
def opener(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """Opens the same catalog again and again, as several servers would."""
    if request.param == "dynamodb":
        for name, value in request.getfixturevalue("dynamodb").items():
            monkeypatch.setenv(name, value)
    params = CatalogParams(request.param, prefix=f"test-{uuid.uuid4().hex}")
    return lambda: open_catalog(params, tmp_path / "serving.sqlite")


@pytest.fixture
def catalog(opener: Opener) -> Catalog:
    made = opener()
    for name in ("docs", "notes"):
        made.create_workspace(Workspace(name, name.title(), "user:ann"))
    return made


def record(name: str = "a.md", *, workspace: str = "docs", kind: str = "text/markdown") -> DocumentRecord:
    return DocumentRecord("", workspace, name, f"upload/{name}", kind, 7, sha="5a")


def test_workspaces_are_listed_by_owner_and_looked_up(catalog: Catalog) -> None:
    made = catalog.create_workspace(Workspace("bobs", "Bob's", "user:bob"))
    assert made.created_at
    assert catalog.workspace("bobs") == made
    assert catalog.workspaces(owner="user:bob") == [made]
    assert [one.id for one in catalog.workspaces()] == ["bobs", "docs", "notes"]
    assert catalog.workspace("nowhere") is None


def test_a_workspace_is_made_once(catalog: Catalog) -> None:
    with pytest.raises(AlreadyExists):
        catalog.create_workspace(Workspace("docs", "Again", "user:bob"))
    assert catalog.workspaces(owner="user:bob") == []


def test_a_workspace_of_the_settings_is_there_unless_it_was_deleted(catalog: Catalog) -> None:
    assert ensure_workspace(catalog, "docs") == catalog.workspace("docs")
    made = ensure_workspace(catalog, "new")
    assert made == catalog.workspace("new") is not None
    catalog.delete_workspace("new")
    assert ensure_workspace(catalog, "new") is None


@pytest.mark.parametrize(("id_", "name"), [("ops", "Ops"), ("A B", "x"), ("", "x"), ("x", " "), ("x", "\ud800")])
def test_a_workspace_nobody_could_use_is_refused(catalog: Catalog, id_: str, name: str) -> None:
    with pytest.raises(RequestError, match="must be"):
        catalog.create_workspace(Workspace(id_, name, "user:ann"))


def test_a_deleted_workspace_takes_its_documents_along_and_never_comes_back(catalog: Catalog) -> None:
    kept = catalog.submit(record(workspace="notes"))
    gone = [catalog.submit(record(name)) for name in ("a.md", "b.md")]
    assert [one.id for one in catalog.delete_workspace("docs")] == [one.id for one in gone]
    assert [one.id for one in catalog.workspaces()] == ["notes"]
    assert catalog.document(gone[0].id) is None
    assert catalog.document(kept.id) == kept
    with pytest.raises(NotFound):
        catalog.submit(record())
    with pytest.raises(NotFound):
        catalog.delete_workspace("docs")
    with pytest.raises(AlreadyExists):
        catalog.create_workspace(Workspace("docs", "Docs", "user:ann"))


def test_an_upload_is_submitted_and_found_by_every_server(catalog: Catalog, opener: Opener) -> None:
    made = catalog.submit(record())
    assert (made.status, made.id, made.name) == ("submitted", document_id("docs", "a.md"), "a.md")
    assert made.created_at == made.updated_at != ""
    assert opener().document(made.id) == made


def test_one_name_in_one_workspace_is_one_document(catalog: Catalog) -> None:
    catalog.submit(record())
    with pytest.raises(AlreadyExists, match=r"a document named 'a\.md': delete it first"):
        catalog.submit(record())
    assert catalog.submit(record(workspace="notes")).workspace == "notes"
    assert (catalog.count("docs"), catalog.count("notes"), catalog.count("nowhere")) == (1, 1, 0)


def test_of_many_uploads_of_one_name_one_gets_in(catalog: Catalog) -> None:
    def upload(_: int) -> bool:
        try:
            return catalog.submit(record()).seq > 0
        except AlreadyExists:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(upload, range(16))) == 1


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00b", "x" * 256, "\ud800"])
def test_a_name_nobody_could_use_is_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(RequestError, match="printable characters"):
        catalog.submit(record(name))


def test_an_upload_needs_a_workspace(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="workspace"):
        catalog.submit(record(workspace="nowhere"))


def test_a_status_says_how_far_it_is(catalog: Catalog) -> None:
    made = catalog.submit(record())
    done = catalog.update(made, status="processed", chunks=12)
    assert (done.status, done.chunks, done.created_at, done.seq) == ("processed", 12, made.created_at, made.seq)
    assert done.updated_at > made.updated_at
    assert catalog.document(made.id) == done


def test_what_failed_can_be_uploaded_again(catalog: Catalog) -> None:
    first = catalog.submit(record())
    assert catalog.update(first, status="error", reason="it is encrypted").reason == "it is encrypted"
    second = catalog.submit(record())
    assert (second.status, second.reason, second.id) == ("submitted", "", first.id)
    with pytest.raises(NotFound):
        catalog.update(first, status="processed")


def test_a_deleted_document_is_gone_and_its_tombstone_stays(catalog: Catalog) -> None:
    made = catalog.submit(record())
    gone = catalog.delete(made.id)
    assert catalog.document(made.id) is None
    assert gone.seq > made.seq
    assert catalog.changes()[-1].action == "delete"
    assert catalog.changes()[-1].document == gone
    for late in (lambda: catalog.delete(made.id), lambda: catalog.update(made, status="processed")):
        with pytest.raises(NotFound):
            late()
    assert catalog.submit(record()).seq > gone.seq


def test_changes_are_in_order_and_can_be_read_piece_by_piece(catalog: Catalog) -> None:
    for name in ("a.md", "b.md", "c.md"):
        catalog.submit(record(name))
    catalog.delete(document_id("docs", "b.md"))
    seen = catalog.changes()
    assert [(one.action, one.document.name) for one in seen] == [
        ("upload", "a.md"),
        ("upload", "b.md"),
        ("upload", "c.md"),
        ("delete", "b.md"),
    ]
    assert catalog.changes(limit=2) + catalog.changes(after=seen[1].seq) == seen
    assert catalog.changes(after=seen[-1].seq) == []


def test_a_reader_that_follows_misses_no_change_while_many_write(catalog: Catalog) -> None:
    followed: list[int] = []

    def upload(n: int) -> int:
        return catalog.submit(record(f"{n}.md", workspace=("docs", "notes")[n % 2])).seq

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(upload, n) for n in range(24)]
        while len(followed) < 24:
            followed += [one.seq for one in catalog.changes(after=followed[-1] if followed else 0)]
    assert sorted(one.result() for one in done) == followed
    assert followed == list(range(followed[0], followed[0] + 24))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "fedcba"),
        ({"status": "processed"}, "ca"),
        ({"of_type": "text/plain"}, "fdb"),
        ({"status": "submitted", "of_type": "text/plain"}, "fdb"),
        ({"status": "error"}, ""),
    ],
)
def test_documents_are_listed_newest_first_page_by_page(catalog: Catalog, asked: dict[str, str], expected: str) -> None:
    catalog.submit(record("elsewhere", workspace="notes"))
    for n, name in enumerate("abcdef"):
        made = catalog.submit(record(name, kind="text/plain" if n % 2 else "application/pdf"))
        if name in "ac":
            catalog.update(made, status="processed")
    found, cursor = catalog.documents("docs", limit=2, **asked)
    while cursor:
        page, cursor = catalog.documents("docs", limit=2, cursor=cursor, **asked)
        assert page
        found += page
    assert "".join(one.name for one in found) == expected


@pytest.mark.parametrize("cursor", ["x", "....", "W10", "bnVsbA", "é", "' OR 1=1"])
def test_a_foreign_cursor_is_refused(catalog: Catalog, cursor: str) -> None:
    with pytest.raises(RequestError, match="cursor"):
        catalog.documents("docs", cursor=cursor)


def test_ids_that_are_none_find_nothing(catalog: Catalog) -> None:
    for wrong in ("", "docs", "docs.", ".", f"#log.{'0' * 32}", "docs." + "Z" * 32, "\ud800"):
        assert catalog.document(wrong) is None


def test_a_documents_id_names_its_workspace() -> None:
    assert workspace_of(document_id("docs", "a.md")) == "docs"
    assert [workspace_of(wrong) for wrong in ("", "docs", "docs.a.md", "docs.")] == ["", "", "", ""]


def test_a_workspaces_id_is_readable_and_new_each_time() -> None:
    made = {workspace_id(name) for name in ("My Notes!", "My Notes!", "???", "ops", "x" * 300)}
    assert len(made) == 5
    assert all(is_id(one) for one in made)
    assert any(one.startswith("my-notes-") for one in made)


def test_an_unknown_backend_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'dynamodb'"):
        open_catalog(CatalogParams("dynamo"), tmp_path / "x")
