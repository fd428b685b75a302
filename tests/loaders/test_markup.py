"""HTML and XML become Markdown; furniture goes, structure stays, nothing hostile is expanded."""

from tests.loaders.reading import read

MENU = "".join(f'<li><a href="/{i}">Menu entry number {i}</a></li>' for i in range(40))
ARTICLE = "".join(
    f"<p>Paragraph {i} explains the thing in a whole sentence of some length, as people do.</p>" for i in range(12)
)


def test_headings_lists_tables_and_code_are_kept() -> None:
    source = """<title>T</title><h1>One</h1><p>Text <code>x()</code>.</p><ul><li>a<li>b</ul>
    <ol><li>first</ol><table><tr><th>k<th>v<tr><td>1<td>2</table><pre>if a:\n    b</pre>"""
    extract = read("a.html", source)
    assert extract.text == (
        "# One\n\nText `x()`.\n\n- a\n- b\n1. first\n\n| k | v |\n| - | - |\n| 1 | 2 |\n\n```\nif a:\n    b\n```\n"
    )
    assert extract.meta == {"title": "T"}


def test_navigation_and_scripts_are_left_out() -> None:
    source = (
        f"<nav>Menu</nav><script>var x='no'</script><div class='cookie-banner'>Accept</div>{ARTICLE}<footer>©</footer>"
    )
    text = read("a.html", source).text
    assert "Paragraph 11 explains" in text
    assert not {"Menu", "no", "Accept", "©"} & set(text.split())


def test_an_article_is_found_among_unmarked_menus() -> None:
    text = read("a.html", f"<html><body><div><ul>{MENU}</ul></div><div><h1>Thing</h1>{ARTICLE}</div></body></html>").text
    assert "Paragraph 0 explains" in text
    assert "Menu entry number 20" not in text


def test_a_nav_that_is_never_closed_does_not_swallow_the_page() -> None:
    assert "Paragraph 3" in read("a.html", f"<nav><a>x</a>{ARTICLE}").text


def test_spanning_cells_are_repeated_under_their_headers() -> None:
    table = "<table><tr><th rowspan=2>R<th colspan=2>C<tr><td>1<td>2</table>"
    assert read("a.html", table).text.splitlines()[2] == "| R | 1 | 2 |"


def test_xml_titles_become_headings_by_depth() -> None:
    source = "<article><title>A</title><body><sec><title>S</title><p>One <b>two</b>.</p></sec></body></article>"
    assert read("a.xml", source).text == "# A\n\n### S\n\nOne two.\n"


def test_entities_of_the_document_are_never_expanded() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b SYSTEM "file:///etc/passwd">]><x>&a;&b; &eacute;</x>'
    assert read("a.xml", bomb).text == "&a;&b; é\n"


def test_xml_that_does_not_parse_is_read_as_tag_soup() -> None:
    assert read("a.xml", "<x><p>one<p>two</x>").text == "one\n\ntwo\n"
