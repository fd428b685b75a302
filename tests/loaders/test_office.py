"""Word, PowerPoint, Excel, OpenDocument and PDF: what a reader sees, in order; hostile archives are refused."""

import pytest

from ragkeep.loaders import Unreadable
from tests.loaders.builders import W, docx, paragraph, pdf, zipped
from tests.loaders.reading import read


def test_a_word_document_in_order() -> None:
    table = "".join(
        f"<w:tr>{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in row)}</w:tr>" for row in (("k", "v"), ("1", "2"))
    )
    heading = paragraph("Top", '<w:outlineLvl w:val="0"/>')
    text = read("a.docx", docx(f"{heading}{paragraph('Before')}<w:tbl>{table}</w:tbl>{paragraph('After')}")).text
    assert text == "# Top\n\nBefore\n\n| k | v |\n| - | - |\n| 1 | 2 |\n\nAfter\n"


def test_deleted_text_is_gone_and_inserted_text_there() -> None:
    changed = "<w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins></w:p>"
    assert read("a.docx", docx(changed)).text == "new\n"


def test_content_controls_and_text_boxes_are_read() -> None:
    control = f"<w:sdt><w:sdtContent>{paragraph('inside')}</w:sdtContent></w:sdt>"
    box = f"<w:p><w:r><w:txbxContent>{paragraph('boxed')}</w:txbxContent></w:r></w:p>"
    assert read("a.docx", docx(control + box)).text == "inside\n\nboxed\n"


def test_a_sheet_is_a_table_under_its_name() -> None:
    first = '<row r="1"><c r="A1" t="inlineStr"><is><t>k</t></is></c><c r="B1"><v>1</v></c></row>'
    rows = first + '<row r="2"><c r="B2"><v>2</v></c></row>'
    book = {
        "xl/workbook.xml": '<workbook xmlns:r="urn:r"><sheets><sheet name="One" r:id="a"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": '<R><R Id="a" Type="x/worksheet" Target="s.xml"/></R>',
        "xl/s.xml": f"<worksheet><sheetData>{rows}</sheetData></worksheet>",
    }
    assert read("a.xlsx", zipped(book)).text == "## One\n\n| k | 1 |\n| - | - |\n|  | 2 |\n"


def relation(key: str, target: str) -> str:
    return f'<R Id="{key}" Type="x/slide" Target="{target}"/>'


def test_slides_come_in_show_order_with_their_offsets() -> None:
    shape = "<cSld><spTree><sp><txBody><p><r><t>{}</t></r></p></txBody></sp></spTree></cSld>"
    deck = {
        "ppt/presentation.xml": '<p xmlns:r="urn:r"><sldIdLst><sldId r:id="b"/><sldId r:id="a"/></sldIdLst></p>',
        "ppt/_rels/presentation.xml.rels": f"<R>{relation('a', '1.xml')}{relation('b', '2.xml')}</R>",
        "ppt/1.xml": f"<sld>{shape.format('one')}</sld>",
        "ppt/2.xml": f"<sld>{shape.format('two')}</sld>",
    }
    extract = read("a.pptx", zipped(deck))
    assert extract.text.split() == ["two", "one"]
    assert extract.meta == {"pages": [0, 5]}


def test_an_open_document_keeps_headings_and_lists() -> None:
    content = '<d><body><text><h outline-level="2">H</h><list><list-item><p>a</p></list-item></list></text></body></d>'
    assert read("a.odt", zipped({"content.xml": content})).text == "## H\n\n- a\n"


def test_a_pdf_knows_where_its_pages_start() -> None:
    extract = read("a.pdf", pdf("First page", "Second page"))
    pages = (extract.meta or {})["pages"]
    assert [extract.text[start:].split("\n")[0] for start in pages] == ["First page", "Second page"]  # type: ignore[attr-defined]


def test_a_pdf_without_text_is_empty_and_noise_is_damaged() -> None:
    with pytest.raises(Unreadable, match=r"empty.*OCR"):
        read("a.pdf", pdf(""))
    with pytest.raises(Unreadable, match="damaged"):
        read("a.pdf", b"%PDF-1.7 nothing")


def test_a_zip_bomb_is_refused_before_it_is_parsed() -> None:
    body = "<w:p/>" * 8_000_000
    with pytest.raises(Unreadable, match=r"too_large_output.*expands"):
        read("a.docx", docx(body))


def test_a_part_that_declares_entities_is_refused() -> None:
    bomb = f'<!DOCTYPE d [<!ENTITY a "b">]><w:document {W}><w:body>&a;</w:body></w:document>'
    for data in (bomb.encode(), bomb.encode("utf-16")):
        with pytest.raises(Unreadable, match="entities"):
            read("a.docx", zipped({"word/document.xml": data}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"no zip", "damaged"), (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "encrypted"), (zipped({}), "damaged")],
)
def test_what_is_no_document_says_why(data: bytes, reason: str) -> None:
    for name in ("a.docx", "a.pptx", "a.xlsx", "a.odt"):
        with pytest.raises(Unreadable, match=reason):
            read(name, data)
