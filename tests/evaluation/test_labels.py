import sysconfig
from pathlib import Path

import pytest

from evaluation.corpus import Corpus
from evaluation.labels import Resolver, quoted
from evaluation.names import Names
from evaluation.sets import Label, Question, load_set
from ragkeep.tables import documents_table
from ragkeep.types import Document
from tasks.shards import write_shard

FILES = {
    "pkg/__init__.py": "from .reader import Reader, load\nfrom . import reader as rd\nfrom ._fast import *\nLIMIT = 10\n",
    "pkg/reader.py": (
        "import functools\n\n\nclass Base:\n    def close(self):\n        pass\n\n\n"
        "class Reader(Base):\n    @functools.cache\n    def read(self):\n        def inner():\n            return 1\n"
        "        return inner\n\n\nif True:\n    def load(fp):\n        return fp\n"
        "else:\n    def load(fp):\n        return 2\n\n\n"
        "_inst = Reader()\nread = _inst.read\nalias = load\nme = me_too = 3\n"
    ),
    "pkg/_fast.py": "def quick():\n    return 'é' '\\d'\n",
    "single.py": "import pkg.reader as path\r\n\r\ndef one():\r\n    return 1\r\n\r\n\r\ndef two(): pass",
    "broken.py": "def (:\n",
}


def find(name: str) -> list[str]:
    texts = {f"stdlib/{uri}": text for uri, text in FILES.items()}
    return [texts[uri][a:b] for uri, a, b in Names(texts.get).find(name)]


def test_a_function_is_its_whole_lines() -> None:
    assert find("single.one") == ["def one():\r\n    return 1\r\n"]
    assert find("single.two") == ["def two(): pass"]


def test_a_module_is_its_whole_document() -> None:
    assert find("single") == [FILES["single.py"]]


def test_a_method_has_its_decorators() -> None:
    assert find("pkg.reader.Reader.read")[0].startswith("    @functools.cache\n    def read(self):")


def test_a_reexported_name_is_followed_to_its_definition() -> None:
    assert find("pkg.Reader.read") == find("pkg.reader.Reader.read")
    assert find("pkg.rd.Base") == find("pkg.reader.Base")
    assert find("pkg.quick")[0].startswith("def quick")
    assert find("single.path.Base.close") == find("pkg.reader.Base.close")


def test_an_inherited_method_is_found_in_the_base() -> None:
    assert find("pkg.Reader.close") == ["    def close(self):\n        pass\n"]


def test_both_branches_of_a_definition_count() -> None:
    assert len(find("pkg.load")) == 2


def test_nested_functions_and_assignments_are_found() -> None:
    assert find("pkg.reader.Reader.read.inner") == ["        def inner():\n            return 1\n"]
    assert find("pkg.LIMIT") == ["LIMIT = 10\n"]
    assert find("pkg.reader.me_too") == ["me = me_too = 3\n"]


def test_a_name_bound_to_a_method_of_an_instance_leads_to_the_method() -> None:
    assert find("pkg.reader.read") == find("pkg.reader.Reader.read")
    assert find("pkg.reader.alias") == find("pkg.reader.load")


@pytest.mark.parametrize("name", ["pkg.nothing", "nothing.at.all", "broken.x", "pkg.Reader.nothing", "pkg.LIMIT.x"])
def test_what_is_not_there_is_not_found(name: str) -> None:
    assert find(name) == []


def test_every_golden_name_has_a_definition_in_this_library() -> None:
    library = Path(sysconfig.get_path("stdlib"))

    def text(uri: str) -> str | None:
        path = library / uri.removeprefix("stdlib/")
        return path.read_text("utf-8") if path.is_file() else None

    names = Names(text)
    questions = load_set(Path(__file__).parents[2] / "evaluation/sets/stdlib.jsonl").questions
    labels = [label.name for question in questions for label in question.labels if label.name]
    assert [name for name in labels if not names.find(name)] == []


def test_a_quote_is_found_whatever_its_white_space() -> None:
    assert quoted("to be  or\nnot", "x To be to be\n or not to be or not") == [(8, 21), (22, 34)]
    assert quoted("a.b", "aXb") == []
    assert quoted("  ", "text") == []


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    texts = {f"stdlib/{uri}": text for uri, text in FILES.items()} | {
        "readmes/x-1.0.dist-info/METADATA": "Install x\nnow."
    }
    documents = [
        Document(uri, uri, uri.split("/")[0], "default", text, "code", "python") for uri, text in sorted(texts.items())
    ]
    write_shard(tmp_path, 0, documents_table(documents[:3]), "k")
    write_shard(tmp_path, 1, documents_table(documents[3:]), "k")
    return Resolver(Corpus(tmp_path))


def ask(*labels: Label) -> Question:
    return Question("q", "how?", "test", labels, bool(labels), "stdlib")


def test_labels_of_one_question_are_alternatives(resolver: Resolver) -> None:
    found = resolver.resolve(ask(Label(name="single.one"), Label(document="readmes/x-*/METADATA", quote="Install x now")))
    assert [uri for uri, _, _ in found.groups[0]] == ["stdlib/single.py", "readmes/x-1.0.dist-info/METADATA"]
    assert found.complete


def test_labels_of_other_groups_are_further_pieces(resolver: Resolver) -> None:
    found = resolver.resolve(ask(Label(name="single.one"), Label(name="single.two", group=1)))
    assert [len(group) for group in found.groups] == [1, 1]


def test_what_does_not_resolve_is_named_and_leaves_an_empty_group(resolver: Resolver) -> None:
    found = resolver.resolve(ask(Label(name="single.nine"), Label(document="nowhere/*", quote="x", group=1)))
    assert found.groups == ((), ())
    assert found.unresolved == ("single.nine", "nowhere/*: 'x'")
    assert not found.complete


def test_a_span_must_lie_inside_its_document(resolver: Resolver) -> None:
    uri = "readmes/x-1.0.dist-info/METADATA"
    assert resolver.spans(Label(document=uri, span=(0, 9))) == [(uri, 0, 9)]
    assert resolver.spans(Label(document=uri, span=(0, 900))) == []


def test_a_document_without_a_place_in_it_is_all_of_it(resolver: Resolver) -> None:
    uri = "readmes/x-1.0.dist-info/METADATA"
    assert resolver.spans(Label(document="readmes/*")) == [(uri, 0, len(resolver.corpus.text(uri) or ""))]
    assert resolver.resolve(ask(Label(document="nowhere/*"))).unresolved == ("nowhere/*",)


def test_a_question_belongs_to_the_slices_of_its_document(resolver: Resolver) -> None:
    found = resolver.resolve(ask(Label(name="single.one")))
    assert resolver.slices(found) == {"set": "stdlib", "source": "stdlib", "language": "python"}
    assert resolver.slices(resolver.resolve(ask())) == {"set": "stdlib"}
    assert resolver.slices(resolver.resolve(ask(Label(name="x.y"))))["source"] == "stdlib"
