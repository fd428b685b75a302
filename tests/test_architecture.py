"""Imports go one way: flows -> tasks -> evaluation -> ragkeep; heavy libraries have one home each."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ROOMS = ["ragkeep", "evaluation", "tasks", "flows"]
HOMES = {
    "prefect": "flows/",
    "mlflow": ("flows/registry.py", "ragkeep/serving/mlflow_traces.py"),
    "great_expectations": "tasks/expectations.py",
    "ragas": "evaluation/judge.py",
    "dvc": "flows/",
    "lancedb": "ragkeep/stores/lancedb.py",
    "torch": ("ragkeep/embedders/torch.py", "ragkeep/generators/local.py", "tasks/learners/", "tasks/finetune/"),
    "transformers": ("ragkeep/generators/local.py", "tasks/finetune/"),
    "trl": "tasks/finetune/",
    "gguf": "tasks/finetune/gguf_file.py",
    "httpx": "ragkeep/wire.py",
    "sentence_transformers": ("ragkeep/embedders/torch.py", "ragkeep/rerankers/torch.py"),
    "openvino": "ragkeep/embedders/",
    "ray": "tasks/embed_ray.py",
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
    later = {*ROOMS[ROOMS.index(room) + 1 :], "infra", "tests", "benchmarks"}
    # console.room alone reaches forward, by name and late: there is one command for all rooms
    for path in sources(room):
        found = {name.split(".")[0] for name in imports(path)} & later
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


INFRASTRUCTURE = {
    # says how work is done, not what comes out; the nouns and their tables change with the code that fills them
    *(f"ragkeep/{name}.py" for name in ("__init__", "backends", "config", "errors", "files", "ports", "releases")),
    *(
        "ragkeep/tables.py",
        "ragkeep/tracing.py",
        "ragkeep/types.py",
        "tasks/alone.py",
        "tasks/shards.py",
        "tasks/stage.py",
    ),
    *("tasks/scan.py", "tasks/scan_rules.py", "tasks/inputs.py"),
}


def code_of(stage: str) -> set[str]:
    """Every file of the project that a stage's module imports, directly or not, without infrastructure."""
    found, todo = set[str](), [f"tasks.{stage}"]
    while todo:
        name = todo.pop()
        path = ROOT / Path(*name.split("."))
        file = next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
        where = file.relative_to(ROOT).as_posix() if file else ""
        if file and where not in found | INFRASTRUCTURE:
            found.add(where)
            todo += imported(file)
    return found


def imported(file: Path) -> Iterator[str]:
    """Absolute names of what a file imports from the project's rooms, each also as a member of its package."""
    package = file.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "scan"])
def test_a_stage_names_all_code_it_runs_as_a_dependency(stage: str) -> None:
    named = STAGES[stage]["deps"]
    covered = {f for f in code_of(stage) if any(f == dep or f.startswith(f"{dep}/") for dep in named)}
    assert code_of(stage) - covered == set()


@pytest.mark.parametrize(("library", "home"), HOMES.items())
def test_a_heavy_library_has_one_home(library: str, home: str | tuple[str, ...]) -> None:
    for room in ROOMS:
        for path in sources(room):
            where = path.relative_to(ROOT).as_posix()
            if library in {name.split(".")[0] for name in imports(path)}:
                assert where.startswith(home), f"{where} imports {library}, whose home is {home}"
