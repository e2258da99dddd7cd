"""Documents of each kind to their text, broken ones to Unreadable, any octets to one or the other."""

import zipfile
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfWriter

from posthorn_testkit.documents import docx, package, pdf, shown
from posthorn_text_extract import Limits, Unreadable, extract, knows

OCTETS = "application/octet-stream"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
ODF = 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:o="urn:o"'


@pytest.mark.parametrize(
    ("content_type", "filename", "known"),
    [
        ("application/pdf", None, True),
        ("APPLICATION/PDF; name=x", None, True),
        (OCTETS, "Report.PDF", True),
        (OCTETS, "report", False),
        (OCTETS, "pdf", False),
        ("application/msword", "old.doc", False),
        ("application/msword", "new.docx", True),
        ("application/vnd.ms-excel", "table.csv", False),
        ("application/vnd.ms-excel.sheet.macroenabled.12", "table.xlsm", True),
        ("image/png", "trick.pdf", False),
        ("text/csv", None, True),
        ("text/x-anything", "x", True),
        ("", "", False),
    ],
)
def test_kinds_by_type_then_by_file_name(content_type: str, filename: str | None, known: bool) -> None:
    assert knows(content_type, filename) is known


def test_text_of_pdf() -> None:
    data = pdf(shown("Grüße an Ann", "second line"), shown("page two"))
    assert extract("application/pdf", None, data) == "Grüße an Ann\nsecond line\npage two"
    assert extract(OCTETS, "a.pdf", pdf(shown("packed"), compress=True)) == "packed"


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_an_encrypted_pdf_that_everybody_may_open(algorithm: str) -> None:
    assert extract("application/pdf", None, encrypted(algorithm, "")) == "readable"
    with pytest.raises(Unreadable, match="password"):
        extract("application/pdf", None, encrypted(algorithm, "secret"))


def encrypted(algorithm: str, password: str) -> bytes:
    writer = PdfWriter(clone_from=BytesIO(pdf(shown("readable"))))
    writer.encrypt(password, "owner", algorithm=algorithm)
    buffer = BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def test_text_of_docx() -> None:
    body = (
        "<w:p><w:r><w:t>One </w:t></w:r><w:r><w:t>para&amp;graph</w:t><w:tab/><w:t>x</w:t></w:r></w:p>"
        "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:t>Größe</w:t></w:r></w:p>"
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>cell</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    )
    assert extract(OCTETS, "a.docx", docx(body)) == "A title\nAnn\nOne para&graph x\nGröße\ncell"


def test_text_of_xlsx() -> None:
    data = package(
        {
            "xl/workbook.xml": '<workbook><sheets><sheet name="Prices" sheetId="1"/></sheets></workbook>',
            "xl/sharedStrings.xml": "<sst><si><t>Name</t></si><si><r><t>Tot</t></r><r><t>al</t></r></si></sst>",
            "xl/worksheets/sheet1.xml": '<worksheet><row><c t="s"><v>0</v></c><c><v>12.5</v></c>'
            '<c t="inlineStr"><is><t>in line</t></is></c></row></worksheet>',
        }
    )
    assert (extract(XLSX, None, data) or "").split() == ["Prices", "Name", "Total", "12.5", "in", "line"]


def test_text_of_pptx_in_the_order_of_slides() -> None:
    slides = {
        f"ppt/slides/slide{n}.xml": f"<p:sld xmlns:p='urn:p' {A}><a:p><a:r><a:t>slide {n}</a:t></a:r></a:p></p:sld>"
        for n in (10, 2, 1)
    }
    notes = {"ppt/notesSlides/notesSlide1.xml": f"<p:notes xmlns:p='urn:p' {A}><a:p><a:t>a note</a:t></a:p></p:notes>"}
    assert extract(PPTX, None, package({**slides, **notes})) == "a note\nslide 1\nslide 2\nslide 10"


@pytest.mark.parametrize("filename", ["a.odt", "a.ods", "a.odp"])
def test_text_of_open_document(filename: str) -> None:
    content = (
        f"<o:body {ODF}><text:tracked-changes><text:deletion><text:p>gone</text:p></text:deletion>"
        "</text:tracked-changes><text:h>Head</text:h><text:p>a<text:s/>b<text:line-break/>c<text:span>d</text:span>"
        "</text:p><o:binary>AAAA</o:binary><o:table o:name='Prices' o:style-name='no'/></o:body>"
    )
    assert extract(OCTETS, filename, package({"content.xml": content})) == "Head\na b\ncd\nPrices"


@pytest.mark.parametrize(
    ("content_type", "data", "expected"),
    [
        ("text/plain; charset=iso-8859-1", b"Gr\xfc\xdfe", "Grüße"),
        ("text/plain", "hi é".encode("utf-16"), "hi é"),
        ("text/csv", b"a;b\n1;2\n", "a;b\n1;2"),
        ("text/html", b'<meta charset="koi8-r"><p>\xf0\xf2<script>no</script>', "ПР"),
        (
            "application/rtf",
            rb"{\rtf1\ansi\ansicpg1252 Gr\'fc\'dfe \u8364?\par{\*\x no}{\pict 00ff}end}",
            "Grüße €\nend",
        ),
        ("application/rtf", rb"{\rtf1\ansi\ansicpg1251 \'cf\'f0\uc0\u-10179\u-8704 {\fonttbl{\f0 No;}}x}", "Пр😀x"),
        ("application/rtf", rb"{\rtf1 a\bin4 {{{{b\{c\}\~\emdash}", "ab{c} —"),
        (
            "text/calendar",
            b"BEGIN:VEVENT\r\nSUMMARY:Lunch\\, long\r\n er\r\nUID:no\r\n"
            b'ATTENDEE;CN="Bob B";X=1:mailto:bob@example.org\r\n',
            "Lunch, longer\nBob B bob@example.org",
        ),
        (
            "text/vcard",
            b"FN:Ann\r\nN:Smith;Ann;;;\r\nitem1.EMAIL;TYPE=home:ann@example.org\r\n"
            b"NOTE;ENCODING=QUOTED-PRINTABLE:Gr=C3=BC=\r\n=C3=9Fe\r\nPHOTO:AAAA\r\n",
            "Ann\nSmith Ann   \nann@example.org\nGrüße",
        ),
    ],
)
def test_text_of_what_is_text(content_type: str, data: bytes, expected: str) -> None:
    assert extract(content_type, None, data) == expected


def test_text_of_an_attached_message_and_of_what_is_attached_to_it() -> None:
    inner = (
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: ann@example.org\r\n"
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
        b"--x\r\n\r\nbody text\r\n--x\r\nContent-Type: application/octet-stream; name=a.pdf\r\n\r\n"
        + pdf(shown("from the document"))
        + b"\r\n--x\r\nContent-Type: application/pdf\r\n\r\nbroken\r\n--x--\r\n"
    )
    found = extract("message/rfc822", None, inner)
    assert found == "Grüße\nann@example.org\nbody text\nfrom the document"


def test_a_kind_that_is_not_read_has_no_text() -> None:
    assert extract("image/png", "a.png", b"\x89PNG") is None


@pytest.mark.parametrize(
    ("filename", "data"),
    [
        ("a.pdf", b""),
        ("a.pdf", b"%PDF-1.7\n"),
        ("a.docx", b"PK\x03\x04"),
        ("a.docx", package({"other.xml": "<a/>"})),
        ("a.docx", package({"word/document.xml": "<w:p xmlns:w='u'><w:t>"})),
        ("a.docx", package({"word/document.xml": "<a>"}, zipfile.ZIP_LZMA)),
        ("a.odt", package({"content.xml": "<?xml version='1.0' encoding='nonsense'?><a/>"})),
        ("a.rtf", b"plain"),
        ("a.rtf", b"{\\rtf1" + b"{" * 20_000),
    ],
)
def test_broken_documents_are_unreadable(filename: str, data: bytes) -> None:
    with pytest.raises(Unreadable):
        extract(OCTETS, filename, data)


def test_a_broken_member_costs_only_itself() -> None:
    data = package({"word/document.xml": "<p><t>kept</t>", "word/footnotes.xml": "<p><t>note</t></p>"})
    assert extract(OCTETS, "a.docx", data) == "keptnote"


def test_text_is_cut_at_its_limit() -> None:
    limits = Limits(characters=5)
    assert extract("text/plain", None, b"abcdefgh", limits=limits) == "abcde"
    assert extract(OCTETS, "a.docx", docx("<w:p><w:t>abcdefgh</w:t></w:p>"), limits=limits) == "A tit"
    assert extract(OCTETS, "a.pdf", pdf(shown("abcdefgh")), limits=limits) == "abcde"
    with pytest.raises(Unreadable, match="large"):
        extract("text/plain", None, b"abcdefgh", limits=Limits(input_octets=7))


NAMES = st.sampled_from(["a.pdf", "a.docx", "a.odt", "a.rtf", "a.html", "a.txt", "a.ics", "a.vcf", "a.eml"])
STARTS = st.sampled_from(
    [b"", b"%PDF-1.4\n", b"{\\rtf1 ", b"PK\x03\x04", b"BEGIN:VCARD\n", docx("<w:p/>"), pdf(shown("x"))]
)


@given(NAMES, STARTS, st.binary(max_size=200), st.integers(0, 300))
def test_any_octets_are_text_or_unreadable(name: str, start: bytes, noise: bytes, cut: int) -> None:
    try:
        found = extract(OCTETS, name, start[:cut] + noise + start[cut:])
    except Unreadable:
        return
    assert found is not None
    assert "\0" not in found
    found.encode()
