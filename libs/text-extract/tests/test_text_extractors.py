"""The pool of workers against documents made to hurt: it stays whole, and the next document is read."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from posthorn_model.errors import Unavailable
from posthorn_testkit.documents import docx, package, pdf, pdf_of, shown
from posthorn_text_extract import Extractors, Limits, Unreadable

OCTETS = "application/octet-stream"
SMALL = Limits(
    characters=100_000,
    expanded_octets=16_777_216,
    seconds=2.0,
    cpu_seconds=3,
    wall_seconds=30.0,
    memory_octets=268_435_456,
)
PATIENT = Limits(seconds=1000.0, wall_seconds=1000.0)
"""For what is not about time: a worker is polite, so a busy machine may let it wait long."""


async def still_reads(pool: Extractors) -> None:
    assert await pool.text("text/plain", None, b"all is well") == "all is well"


async def test_documents_of_all_kinds_by_workers() -> None:
    async with Extractors(PATIENT, workers=2) as pool:
        found = await asyncio.gather(
            pool.text("application/pdf", None, pdf(shown("from pdf"))),
            pool.text(OCTETS, "a.docx", docx("<w:p><w:t>from docx</w:t></w:p>")),
            pool.text("text/html", None, b"<p>from html"),
            pool.text("image/png", "a.png", b"\x89PNG"),
        )
    assert found == ["from pdf", "A title\nAnn\nfrom docx", "from html", None]


def zip_bomb() -> bytes:
    return package({"word/document.xml": b"<a>" + b"<b/>" * 12_000_000})


def zip_bomb_of_text() -> bytes:
    return package({"word/document.xml": b"<t>" + b"a" * 60_000_000})


def entity_bomb() -> bytes:
    lines = [f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 12)]
    return package({"content.xml": f"<!DOCTYPE a [<!ENTITY l0 'lol'>{''.join(lines)}]><p>&l11;</p>"})


def external_entity() -> bytes:
    return package({"content.xml": "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><p>&x;</p>"})


def long_token() -> bytes:
    return package({"content.xml": b"<p a='" + b"x" * 15_000_000})


def pdf_bomb() -> bytes:
    page = zlib.compress(b"q Q " * 30_000_000, 9)
    return pdf(b"").replace(
        b"/Length 0 >>\nstream\n", b"/Length %d /Filter /FlateDecode >>\nstream\n%s" % (len(page), page)
    )


def pdf_bomb_in_bomb() -> bytes:
    page = zlib.compress(zlib.compress(b"\0" * 100_000_000, 9), 9)
    how = b"/Length %d /Filter [/FlateDecode /FlateDecode] >>\nstream\n%s" % (len(page), page)
    return pdf(b"").replace(b"/Length 0 >>\nstream\n", how)


def pdf_pages_of_itself() -> bytes:
    return pdf_of([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"])


def pdf_form_of_itself() -> bytes:
    form = b"/Fm Do /Fm Do /Fm Do"
    own = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /Fm 4 0 R >> >>"
        b" /Length %d >>\nstream\n%s\nendstream"
    )
    return pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /Resources << /XObject << /Fm 4 0 R >> >> /Contents 5 0 R >>",
            own % (len(form), form),
            b"<< /Length 6 >>\nstream\n/Fm Do\nendstream",
        ]
    )


def pdf_nested_arrays() -> bytes:
    return pdf(b"[" * 200_000)


def pdf_of_endless_text() -> bytes:
    return pdf(*[b"BT /F1 12 Tf " + b"(a) Tj 1 0 0 1 5 5 Tm " * 200_000 + b"ET"] * 4, compress=True)


def html_of_open_tags() -> bytes:
    return b"<div " * 4_000_000


def rtf_of_groups() -> bytes:
    return b"{\\rtf1 " + b"{\\b x}" * 3_000_000


@pytest.mark.parametrize(
    ("filename", "make"),
    [
        ("a.docx", zip_bomb),
        ("a.docx", zip_bomb_of_text),
        ("a.odt", entity_bomb),
        ("a.odt", external_entity),
        ("a.odt", long_token),
        ("a.pdf", pdf_bomb),
        ("a.pdf", pdf_bomb_in_bomb),
        ("a.pdf", pdf_pages_of_itself),
        ("a.pdf", pdf_form_of_itself),
        ("a.pdf", pdf_nested_arrays),
        ("a.pdf", pdf_of_endless_text),
        ("a.html", html_of_open_tags),
        ("a.rtf", rtf_of_groups),
    ],
)
async def test_a_hostile_document_is_cut_or_unreadable_and_the_pool_reads_on(
    filename: str, make: Callable[[], bytes]
) -> None:
    async with Extractors(SMALL) as pool:
        try:
            found = await pool.text(OCTETS, filename, make())
        except Unreadable:
            pass
        else:
            assert found is not None
            assert len(found) <= SMALL.characters
            assert "root:" not in found
        await still_reads(pool)


def readers() -> list[int]:
    """The worker processes of this process."""
    children = (int(pid) for task in Path("/proc/self/task").iterdir() for pid in _shown(task / "children").split())
    return [pid for pid in children if b"posthorn_text_extract.worker" in _shown(Path(f"/proc/{pid}/cmdline"))]


def _shown(file: Path) -> bytes:
    """What the kernel shows there; nothing once the thread or process has ended."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_the_kernel_ends_a_worker_that_uses_too_much_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthorn_text_extract.extractors._ENDING_SECONDS", 60.0)
    async with Extractors(replace(PATIENT, cpu_seconds=1)) as pool:
        with pytest.raises(Unreadable, match="ended its reader") as raised:
            await pool.text(OCTETS, "a.pdf", pdf_of_endless_text())
        assert raised.value.fields == {"ended": -signal.SIGXCPU}
        await still_reads(pool)


async def test_a_worker_that_takes_too_much_memory_is_replaced() -> None:
    limits = replace(PATIENT, memory_octets=100_000_000, expanded_octets=1_000_000_000, characters=1_000_000_000)
    async with Extractors(limits) as pool:
        await still_reads(pool)
        before = readers()
        with pytest.raises(Unreadable, match="memory"):
            await pool.text(OCTETS, "a.docx", package({"word/document.xml": b"<t>" + b"ab\n" * 20_000_000 + b"</t>"}))
        await still_reads(pool)
        assert len(readers()) == 1
        assert readers() != before


async def test_a_worker_that_hangs_is_killed_at_its_time() -> None:
    async with Extractors(PATIENT) as pool:
        await still_reads(pool)
        (pid,) = readers()
        os.kill(pid, signal.SIGSTOP)
        pool._limits = replace(PATIENT, wall_seconds=0.5)
        with pytest.raises(Unreadable, match="too long"):
            await pool.text("text/plain", None, b"x")
        assert pid not in readers()
        pool._limits = PATIENT
        await still_reads(pool)


async def test_a_worker_that_died_while_idle_does_not_cost_a_document() -> None:
    async with Extractors() as pool:
        await still_reads(pool)
        (pid,) = readers()
        os.kill(pid, signal.SIGKILL)
        await still_reads(pool)


async def test_a_cancelled_document_leaves_no_worker_behind_and_the_pool_whole() -> None:
    async with Extractors(Limits(seconds=1000.0), workers=1) as pool:
        task = asyncio.create_task(pool.text(OCTETS, "a.pdf", pdf_of_endless_text()))
        async with asyncio.timeout(30):
            while not readers():  # noqa: ASYNC110 - what is waited for is another process
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert readers() == []
        await still_reads(pool)
    assert readers() == []


PARENT = """
import asyncio, os, sys
from pathlib import Path
from posthorn_text_extract import Extractors

async def main():
    pool = Extractors()
    await pool.text("text/plain", None, b"x")
    print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def test_a_worker_ends_with_a_parent_that_is_killed() -> None:
    # The events of the loop run in the main thread, which starts the worker.
    done = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    try:
        worker = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:
        return
    ended, _, _ = select.select([worker], [], [], 30)
    os.close(worker)
    assert ended


async def test_closing_ends_the_workers_and_refuses_more() -> None:
    pool = Extractors()
    await still_reads(pool)
    await pool.aclose()
    assert readers() == []
    with pytest.raises(Unavailable):
        await pool.text("text/plain", None, b"x")


async def test_a_worker_that_cannot_start_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Extractors() as pool:
        for program in ("/bin/false", "/no/such/program"):
            monkeypatch.setattr("sys.executable", program)
            with pytest.raises(Unavailable):
                await pool.text("text/plain", None, b"x")
        monkeypatch.undo()
        await still_reads(pool)
    assert readers() == []


async def test_a_worker_has_no_secrets_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHORN_TEST_SECRET", "s3cret")
    async with Extractors() as pool:
        await still_reads(pool)
        (pid,) = readers()
        assert b"s3cret" not in environment_of(pid)
