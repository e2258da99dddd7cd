"""Encodings of content: inverse, bounded, and never handed out damaged."""

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey
from posthorn_storage.blobs.content import (
    FRAMED,
    FRAMED_FROM,
    LZ4,
    LZ4_FRAMES,
    PLAIN,
    ZSTD,
    ZSTD_FRAMES,
    content_key,
    decode,
    decode_frames,
    encode,
    encoding_for,
)
from posthorn_storage.blobs.frames import PIECE, index_length, offsets

ENCODINGS = [PLAIN, ZSTD, LZ4, ZSTD_FRAMES, LZ4_FRAMES]
SMALL = b"Subject: hello\r\n\r\nhello\r\n" * 20
LARGE = os.urandom(50_000)
FRAMES = (b"some words of a long message " * 40 + os.urandom(300)) * 1000


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("data", [b"", b"x", SMALL, LARGE, FRAMES, FRAMES[: 3 * PIECE]])
def test_encodings_are_inverse(encoding: int, data: bytes) -> None:
    for given_as in (data, memoryview(data)):
        stored = encode(given_as, encoding)
        assert decode(stored, encoding, len(data), content_key(data)) == data
        assert decode(bytes(stored), encoding, len(data)) == data


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("data", [b"", SMALL, FRAMES], ids=["nothing", "small", "frames"])
def test_a_stored_form_made_in_a_file_is_the_same(encoding: int, data: bytes, tmp_path: Path) -> None:
    assert encode(data, encoding, tmp_path) == encode(data, encoding)
    assert not list(tmp_path.iterdir())


def test_a_stored_form_made_in_a_file_takes_no_memory(tmp_path: Path) -> None:
    data = os.urandom(16_000_000)
    tracemalloc.start()
    try:
        stored = encode(data, ZSTD_FRAMES, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert len(stored) > len(data)


@pytest.mark.parametrize("encoding", [ZSTD, LZ4, ZSTD_FRAMES, LZ4_FRAMES])
def test_damaged_content_is_not_handed_out(encoding: int) -> None:
    stored = bytes(encode(SMALL, encoding))
    many = bytes(encode(b"\0" * 10_000_000, encoding))
    for bad in (b"", stored[:-1], stored[:5] + stored[6:], b"rubbish", many):
        with pytest.raises(Unavailable):
            decode(bad, encoding, len(SMALL), content_key(SMALL))


@pytest.mark.parametrize("encoding", sorted(FRAMED))
def test_frames_end_where_the_object_ends(encoding: int) -> None:
    with pytest.raises(Unavailable):
        decode(bytes(encode(SMALL, encoding)) + b"x", encoding, len(SMALL))


def test_content_of_another_key_or_form_is_not_handed_out() -> None:
    with pytest.raises(Unavailable):
        decode(b"x" * 10, PLAIN, 10, BlobKey(b"k" * 32))
    with pytest.raises(Unavailable):
        decode(b"x" * 10, 9, 10)


@pytest.mark.parametrize("encoding", sorted(FRAMED))
def test_each_frame_is_read_alone(encoding: int) -> None:
    stored = bytes(encode(FRAMES, encoding))
    places = offsets(stored[: index_length(len(FRAMES))], len(FRAMES))
    assert places[-1] == len(stored)
    for number in range(len(places) - 1):
        begin, end = places[number : number + 2]
        (piece,) = decode_frames(stored[begin:end], [0, end - begin], encoding)
        assert piece == FRAMES[number * PIECE : (number + 1) * PIECE]


@pytest.mark.parametrize("encoding", sorted(FRAMED))
@given(data=st.data())
def test_a_damaged_frame_or_index_is_told(encoding: int, data: st.DataObject) -> None:
    """One changed byte anywhere: what is read alone is right, or refused."""
    stored = bytearray(encode(FRAMES[: 2 * PIECE + 10], encoding))
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= data.draw(st.integers(1, 255))
    size = 2 * PIECE + 10
    try:
        places = offsets(bytes(stored[: index_length(size)]), size)
        pieces = decode_frames(stored, places, encoding)
    except Unavailable:
        return
    assert b"".join(pieces) == FRAMES[:size]


def test_only_large_content_is_framed() -> None:
    assert [encoding_for(FRAMED_FROM - 1, encoding) for encoding in (PLAIN, ZSTD, LZ4)] == [PLAIN, ZSTD, LZ4]
    assert [encoding_for(FRAMED_FROM, encoding) for encoding in (PLAIN, ZSTD, LZ4)] == [PLAIN, ZSTD_FRAMES, LZ4_FRAMES]
