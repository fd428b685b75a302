"""Imports go one way: flows -> tasks -> evaluation -> ragkeep; heavy libraries have one home each."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ["ragkeep", "evaluation", "tasks", "flows"]
HOMES = {
    "prefect": "flows/",
    "mlflow": "flows/registry.py",
    "great_expectations": "tasks/expectations.py",
    "ragas": "evaluation/judge.py",
    "dvc": "flows/",
    "lancedb": "ragkeep/stores/lancedb.py",
    "torch": "ragkeep/embedders/torch.py",
    "sentence_transformers": "ragkeep/embedders/torch.py",
    "openvino": "ragkeep/embedders/",
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_those_before_it(room: str) -> None:
    later = set(ROOMS[ROOMS.index(room) + 1 :])
    # cli.py alone reaches forward, by name and late: it is the one command for all rooms
    for path in sources(room):
        found = {name.split(".")[0] for name in imports(path)} & later
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


@pytest.mark.parametrize(("library", "home"), HOMES.items())
def test_a_heavy_library_has_one_home(library: str, home: str) -> None:
    for room in ROOMS:
        for path in sources(room):
            where = path.relative_to(ROOT).as_posix()
            if library in {name.split(".")[0] for name in imports(path)}:
                assert where.startswith(home), f"{where} imports {library}, whose home is {home}"
