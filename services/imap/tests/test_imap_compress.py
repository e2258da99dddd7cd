"""Compressed connections (RFC 4978), and another login on the same one (RFC 8437)."""

import asyncio
import zlib
from typing import Any

import pytest

from posthorn_imap.protocol.deflate import MAX_TAKEN, Deflate, DeflateProblem
from posthorn_imap.settings import SessionLimits

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK [CAPABILITY ... COMPRESS=DEFLATE ... UNAUTHENTICATE ...
"""


class Packed:
    """A client's side of a compressed connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.packer = zlib.compressobj(9, wbits=-15)
        self.unpacker = zlib.decompressobj(-15)
        self.said = b""

    def send(self, text: bytes) -> None:
        self.writer.write(self.packer.compress(text) + self.packer.flush(zlib.Z_SYNC_FLUSH))

    async def until(self, end: bytes) -> bytes:
        while end not in self.said:
            data = await asyncio.wait_for(self.reader.read(65536), 20)
            assert data, self.said
            self.said += self.unpacker.decompress(data)
        found, _, self.said = self.said.partition(end)
        return found

    async def ended(self) -> None:
        while await asyncio.wait_for(self.reader.read(65536), 20):
            continue


async def compressed(imap: Any, *, listener: str = "plain") -> Packed:
    """A connection that has logged in and compresses."""
    conversation = imap.talk(listener)
    await conversation.play(LOGIN + "C: z COMPRESS DEFLATE\nS: z OK DEFLATE active\n")
    return Packed(*await conversation._open(""))


def test_octets_come_back_whole_however_they_are_cut() -> None:
    here, there = Deflate(), Deflate()
    said = bytes(range(256)) * 1000
    packed = here.pack(said[:1000]) + here.pack(said[1000:])
    found = b""
    for at in range(len(packed)):
        there.feed(packed[at : at + 1])
        while piece := there.take():
            assert len(piece) <= MAX_TAKEN
            found += piece
    assert found == said


def test_a_bomb_goes_off_in_bounded_pieces_and_a_broken_stream_is_an_error() -> None:
    packer = zlib.compressobj(9, wbits=-15)
    there = Deflate()
    there.feed(packer.compress(bytes(50_000_000)) + packer.flush())
    sizes = []
    while piece := there.take():
        sizes.append(len(piece))
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= MAX_TAKEN
    there.feed(b"more")
    with pytest.raises(DeflateProblem):
        there.take()
    broken = Deflate()
    broken.feed(b"\xff" * 20)
    with pytest.raises(DeflateProblem):
        broken.take()


@pytest.mark.postgres
@pytest.mark.parametrize("listener", ["plain", "implicit"])
async def test_everything_goes_on_compressed_with_idle_and_large_messages(imap: Any, listener: str) -> None:
    client = await compressed(imap, listener=listener)
    letter = b"Subject: large\r\n\r\n" + b"line\r\n" * 200_000
    client.send(b"1 APPEND INBOX {%d}\r\n" % len(letter))
    await client.until(b"+ Ready for literal data\r\n")
    client.send(letter)
    client.send(b"\r\n2 SELECT INBOX\r\n3 FETCH 1 BODY.PEEK[]\r\n4 COMPRESS DEFLATE\r\n")
    await client.until(b"* 1 FETCH (BODY[] {%d}\r\n" % len(letter))
    assert await client.until(b")\r\n3 OK FETCH completed\r\n") == letter
    await client.until(b"4 NO [COMPRESSIONACTIVE] ")
    client.send(b"5 IDLE\r\n")
    await client.until(b"+ idling\r\n")
    await imap.play(LOGIN + r"C\: 1 APPEND INBOX {1+}\r\na\r\n" + "\nS: 1 OK ...")
    await client.until(b"* 2 EXISTS\r\n")
    client.send(b"DONE\r\n6 LOGOUT\r\n")
    await client.until(b"6 OK ")
    await client.ended()


@pytest.mark.postgres
async def test_a_bomb_is_a_line_too_long_and_the_session_lives(imap: Any) -> None:
    client = await compressed(imap)
    client.send(b"1 LOGIN " + b"a" * 20_000_000 + b"\r\n2 NOOP\r\n")
    await client.until(b"1 BAD ")
    await client.until(b"2 OK NOOP completed\r\n")


@pytest.mark.postgres
async def test_what_is_not_compressed_ends_the_connection(imap: Any) -> None:
    client = await compressed(imap)
    client.writer.write(b"\xff\xff\xff\xff 1 NOOP\r\n")
    await client.ended()
    await imap.play(LOGIN + "C\\: 1 COMPRESS DEFLATE\\r\\n\\xff\\xff\\xff\\xff 2 NOOP\\r\\n\nS: 1 OK ...\nE:")


@pytest.mark.postgres
async def test_what_cannot_be_compressed(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret")
    server = await imap_server(limits=SessionLimits(compressed=1))
    await server.play(
        """
        S: * OK ...
        C: 1 COMPRESS DEFLATE
        S: 1 BAD COMPRESS: log in first
        """
    )
    await server.play(LOGIN + "C: 1 COMPRESS LZ4\nS: 1 BAD ...\nC: 2 COMPRESS DEFLATE\nS: 2 OK ...")
    await server.play(LOGIN + "C: 1 COMPRESS DEFLATE\nS: 1 NO [LIMIT] ...")


@pytest.mark.postgres
async def test_another_login_on_the_same_connection(imap: Any, account: Any) -> None:
    await account("bob@example.org", password="hidden")
    await imap.play(
        LOGIN
        + """
        C: 1 ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: 1 OK ...
        C: 2 CREATE Own
        S: 2 OK ...
        C: 3 SELECT Own
        S*: 3 OK ...
        C: 4 UNAUTHENTICATE
        S: 4 OK ...
        C: 5 SELECT Own
        S: 5 BAD SELECT: log in first
        C: 6 UNAUTHENTICATE
        S: 6 BAD ...
        C: 7 LOGIN bob@example.org hidden
        S: 7 OK ...
        C: 8 SELECT Own
        S: 8 NO [NONEXISTENT] ...
        C: 9 ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: 9 OK ...
        """
    )
