"""The golden sets: enough questions, and every label still points at something that exists."""

import ast
import json
import os
import shutil
import subprocess
import sysconfig
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation import stdlib_names

ROOT = Path(__file__).parents[2]
SETS = ROOT / "evaluation" / "sets"
LEAST = {"stdlib": 150, "readmes": 40, "unanswerable": 20}
OTHER_PYTHONS = ["3.11", "3.12", "3.13"]


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SETS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def everything() -> list[dict[str, Any]]:
    return [row for name in LEAST for row in rows(name)]


def quotes(name: str) -> list[tuple[str, str]]:
    return [(label["document"], label["quote"]) for row in rows(name) for label in row["labels"] if "quote" in label]


def python(version: str) -> str:
    """An interpreter of that version from PATH, pyenv or uv; skips where there is none."""
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    uv = Path.home() / ".local/share/uv/python"
    found = [shutil.which(f"python{version}"), *map(str, sorted(home.glob(f"{version}.*/bin/python")))]
    found += map(str, sorted(uv.glob(f"cpython-{version}.*/bin/python{version}")))
    for candidate in filter(None, found):
        # a pyenv shim is on PATH even for versions that are not there
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.skip(f"Python {version} is not installed here: its standard library cannot be checked")


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_there_are_enough_questions_on_both_sides(name: str, least: int) -> None:
    sides = Counter(row["split"] for row in rows(name))
    assert sides.total() >= least
    assert set(sides) == {"dev", "test"}
    assert 0.3 <= sides["dev"] / sides.total() <= 0.5


def test_a_row_has_the_documented_keys_and_an_id_of_its_own() -> None:
    for row in everything():
        assert row.keys() == {"id", "text", "split", "labels", "answerable"}, row["id"]
    assert max(Counter(row["id"] for row in everything()).values()) == 1


def test_no_question_is_asked_twice() -> None:
    texts = Counter(" ".join(row["text"].lower().rstrip("?.").split()) for row in everything())
    assert [text for text, n in texts.items() if n > 1] == []


def test_what_answers_a_dev_question_answers_no_test_question() -> None:
    sides = defaultdict(set)
    for row in rows("stdlib"):
        for label in row["labels"]:
            sides[json.dumps(label)].add(row["split"])
    assert [label for label, split in sides.items() if len(split) > 1] == []


def test_only_unanswerable_questions_have_no_label() -> None:
    for row in everything():
        assert row["answerable"] == bool(row["labels"]) == (not row["id"].startswith("unanswerable")), row["id"]


def test_most_questions_do_not_name_the_function_they_ask_for() -> None:
    def gives_away(row: dict[str, Any]) -> bool:
        words = set(row["text"].lower().replace("?", " ").replace(",", " ").split())
        last = {label["name"].rsplit(".", 1)[-1].lower() for label in row["labels"] if "name" in label}
        return bool(words & last)

    told = [row["id"] for row in rows("stdlib") if gives_away(row)]
    assert len(told) / len(rows("stdlib")) < 0.25, told


def test_every_name_is_defined_in_this_standard_library() -> None:
    names = stdlib_names.names(SETS / "stdlib.jsonl")
    assert [name for name in names if stdlib_names.find(name) is None] == []


@pytest.mark.parametrize("version", OTHER_PYTHONS)
def test_every_name_and_quote_is_in_the_other_standard_libraries(version: str) -> None:
    command = [python(version), str(Path(stdlib_names.__file__)), str(SETS / "stdlib.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_no_label_is_a_class_so_long_that_most_of_it_answers_something_else() -> None:
    found = {name: stdlib_names.find(name) for name in stdlib_names.names(SETS / "stdlib.jsonl")}
    classes = {name: at[1] for name, at in found.items() if at and isinstance(at[1], ast.ClassDef)}
    long = {name for name, node in classes.items() if (node.end_lineno or 0) - node.lineno >= 160}
    assert long <= {"http.HTTPStatus"}


def test_a_name_that_is_not_there_is_noticed() -> None:
    assert stdlib_names.find("json.loads") is not None
    assert stdlib_names.find("json.loads_twice") is None
    assert stdlib_names.find("binascii.hexlify") is None  # written in C: no source in the corpus


def test_readme_quotes_stand_once_in_the_installed_readme() -> None:
    site = Path(sysconfig.get_path("purelib"))
    for document, quote in quotes("readmes"):
        files = list(site.glob(document.removeprefix("readmes/")))
        assert len(files) == 1, f"{document}: run uv sync"
        body = files[0].read_text(encoding="utf-8").partition("\n\n")[2]
        assert body.count(quote) == 1, (document, quote)
        assert 20 <= len(quote) <= 200


def test_the_readme_lists_each_file() -> None:
    text = (SETS / "README.md").read_text(encoding="utf-8")
    for name in LEAST:
        assert f"`{name}.jsonl`" in text
        assert f"| {len(rows(name))} |" in text, f"{name}: {len(rows(name))} questions; update README.md"
