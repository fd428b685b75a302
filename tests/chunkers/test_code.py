import sysconfig
from pathlib import Path
from textwrap import indent

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ragkeep.chunkers import chunk_document
from ragkeep.chunkers.code import module_name
from ragkeep.types import Chunk

from .checks import DEFAULT, SMALL, TEXTS, check, code, python_sources

BODY = "\n".join(f"    total_{n} = first_value + second_value * {n}" for n in range(12))


HEAD = f'"""{"What it is for, in a few words. " * 3}"""\n\nimport os\nimport sys'


def method(name: str) -> str:
    return f"    def {name}(self):\n        '''Do {name}.'''\n{indent(BODY, '    ')}\n\n"


def names(chunk: Chunk) -> list[str]:
    return list(chunk.meta.get("names", []))


SAMPLES = {
    "javascript": (
        "export class Foo {\n  bar() { return 1 }\n}\nconst go = () => 2\nfunction f() {}\n",
        ["Foo", "Foo.bar", "go", "f"],
    ),
    "typescript": (
        "interface I { a(): void }\nexport abstract class A<T> {\n  b(): T;\n  c(): void {}\n}\n",
        ["I", "I.a", "A", "A.b", "A.c"],
    ),
    "tsx": ("export function View() { return <p>hi</p> }\n", ["View"]),
    "go": ("package p\n\ntype T struct{}\n\nfunc (t *T) Do() {}\n\nfunc Run() {}\n", ["T", "T.Do", "Run"]),
    "java": ("package p;\nimport a.B;\nclass C {\n  int x;\n  C() {}\n  void go() {}\n}\n", ["C", "C.C", "C.go"]),
    "rust": (
        "use a::b;\nstruct S;\nimpl<T> S<T> {\n  pub fn go(&self) {}\n}\nfn f() {}\n",
        ["S", "S", "S.go", "f"],
    ),
    "c": (
        "#include <a.h>\nstruct s { int a; };\nstatic int *f(int a) { return 0; }\nint g(void);\n",
        ["s", "f", "g"],
    ),
    "cpp": (
        "namespace n {\nclass A {\n  int f();\n  int x;\n};\nint& A::g() { return x; }\n}\n",
        ["n", "n.A", "n.A.f", "n.A.g"],
    ),
}


@given(st.one_of(TEXTS, python_sources()), st.sampled_from([*SAMPLES, "ruby"]))
@settings(max_examples=150, deadline=None)
@example("x=1;" * 900, "javascript")
@example("\n" * 90, "python")
@example("((" * 500, "python")
@example("class C:\n" + " ; \n" * 200, "python")
@example("void f() " + "{\n" * 3000, "cpp")
@example("void f() " + "{\n" * 3000 + "}" * 3000, "cpp")
@example("".join(" " * n + "class C:\n" for n in range(200)), "python")
@example("a\r\nb\r\n" * 90, "python")
@example("\ud800 = 1\n" * 40, "python")
def test_any_text_is_covered_within_the_limits(text: str, language: str) -> None:
    check(code(text, language), SMALL)


def test_the_standard_library_is_covered_within_the_limits() -> None:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.glob("*.py"))[::12]:
        check(code(path.read_text(encoding="utf-8"), uri=f"stdlib/{path.name}"), DEFAULT)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("stdlib/json/decoder.py", "json.decoder"),
        ("stdlib/json/__init__.py", "json"),
        ("stdlib/this.py", "this"),
        ("repo/src/tool/cli.py", "tool.cli"),
        ("one.py", "one"),
    ],
)
def test_a_module_is_named_as_it_is_imported(uri: str, name: str) -> None:
    assert module_name(uri, "python") == name


def test_a_function_is_a_chunk_with_its_comments_and_decorators() -> None:
    text = f"{HEAD}\n\n# why it is here\n@cached\ndef first():\n{BODY}\n\n\ndef second():\n{BODY}\n"
    _, first, second = check(code(text), DEFAULT)
    assert first.text.startswith("# why it is here\n@cached\n")
    assert (first.context, second.context) == ("pkg.mod.first", "pkg.mod.second")


def test_docstring_and_imports_are_one_head() -> None:
    text = f"{HEAD}\n\n\ndef f():\n{BODY}\n"
    head, _ = check(code(text), DEFAULT)
    assert head.context == "pkg.mod"
    assert head.text.endswith("import sys\n\n\n")


def test_small_functions_share_a_chunk_that_knows_them_all() -> None:
    text = "".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(9))
    (chunk,) = check(code(text), DEFAULT)
    assert chunk.context == "pkg.mod"
    assert names(chunk) == [f"pkg.mod.f{n}" for n in range(9)]


def test_a_small_class_is_whole() -> None:
    text = (
        f"class Small:\n    '''One thing.'''\n\n    x = 1\n\n    def go(self):\n        return 1\n\n\ndef f():\n{BODY}\n"
    )
    chunk = next(c for c in check(code(text), DEFAULT) if "pkg.mod.Small" in names(c))
    assert names(chunk) == ["pkg.mod.Small", "pkg.mod.Small.x", "pkg.mod.Small.go"]


def test_a_large_class_is_its_header_and_its_methods() -> None:
    text = f"class Large:\n    '''{'Much to say of this. ' * 5}'''\n\n    x = 1\n\n" + method("one") + method("two")
    header, one, two = check(code(text), DEFAULT)
    assert [c.context for c in (header, one, two)] == ["pkg.mod.Large", "pkg.mod.Large.one", "pkg.mod.Large.two"]
    assert names(one) == ["pkg.mod.Large.one"]


def test_a_long_function_is_whole_up_to_the_maximum_and_cut_at_statements_beyond() -> None:
    lines = [f"    if value_{n}:\n        call(value_{n})\n" for n in range(60)]
    assert len(check(code("def f():\n" + "".join(lines)), DEFAULT)) == 1
    chunks = check(code("def f():\n" + "".join(lines * 3)), DEFAULT)
    assert len(chunks) > 5
    assert {c.context for c in chunks} == {"pkg.mod.f"}
    assert all(c.text.startswith(("def", "    if")) for c in chunks)


def test_definitions_under_conditions_are_found() -> None:
    text = "try:\n    from fast import f\nexcept ImportError:\n    def f(): pass\nif x:\n    class C:\n        y = 2\n"
    (chunk,) = check(code(text), DEFAULT)
    assert names(chunk) == ["pkg.mod.f", "pkg.mod.C", "pkg.mod.C.y"]


@pytest.mark.parametrize("language", SAMPLES)
def test_definitions_are_named_in_every_language(language: str) -> None:
    text, expected = SAMPLES[language]
    (chunk,) = check(code(text, language, uri="src/lib/a.x"), DEFAULT)
    assert names(chunk) == [f"lib/a.x: {name}" for name in dict.fromkeys(expected)]


def test_a_long_path_is_shortened_in_the_context_but_not_in_the_names() -> None:
    path = "src/main/java/org/example/project/subproject/module/Thing.java"
    (chunk,) = check(code("class Thing {\n}\n", "java", uri=f"lib/{path}"), DEFAULT)
    assert chunk.context == "subproject/module/Thing.java: Thing"
    assert names(chunk) == [f"{path}: Thing"]


@pytest.mark.parametrize("language", ["ruby", "python"])
def test_without_a_grammar_or_with_broken_syntax_lines_are_cut_at_blank_ones(language: str) -> None:
    blocks = [f"def m{n}((\n  a = {n}\n  b = [{n}\nend\n\n" for n in range(60)]
    chunks = check(code("".join(blocks), language), DEFAULT)
    assert len(chunks) > 3
    assert all(c.text.startswith("def") for c in chunks)


def edited(before: list[Chunk], after: list[Chunk]) -> list[str]:
    kept = {c.id for c in after}
    return [c.context for c in before if c.id not in kept]


def test_an_edited_function_changes_one_chunk() -> None:
    text = "import os\n\n\n" + "".join(f"def f{n}(a):\n{BODY}\n    return {n}\n\n\n" for n in range(20))
    before = check(code(text), DEFAULT)
    after = check(code(text.replace("return 9\n", "return 99\n    # and more\n")), DEFAULT)
    assert edited(before, after) == ["pkg.mod.f9"]


@given(st.integers(0, 119))
@settings(max_examples=30, deadline=None)
def test_an_edit_among_small_functions_stays_near(place: int) -> None:
    functions = [f"def f{n}(a):\n    return a + {n * n}\n\n\n" for n in range(120)]
    before = check(code("".join(functions)), DEFAULT)
    functions.insert(place, "def new(a):\n    return a\n\n\n")
    after = chunk_document(code("".join(functions)), DEFAULT)
    assert len(edited(before, after)) <= 9
