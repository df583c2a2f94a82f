"""Request frames and reply chunks: round trips in any pieces, and every way to break them."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol import frames

payloads = st.binary(max_size=300)
chunks = st.lists(payloads, min_size=1, max_size=5)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def decode_reply(data: bytes, cuts: list[int] = (), max_chunk: int = 1000, max_reply: int = 10_000) -> list:
    decoder = frames.ReplyDecoder(max_chunk, max_reply)
    out = [chunk for piece in pieces_of(data, list(cuts)) for chunk in decoder.feed(piece)]
    decoder.finish()
    return out


@given(st.integers(0, 2**63 - 1), st.binary(max_size=3))
def test_varints_read_back(value, behind):
    data = frames.encode_varint(value)
    assert frames.decode_varint(b"x" + data + behind, 1) == (value, 1 + len(data))
    assert all(frames.decode_varint(data[:i]) is None for i in range(len(data)))


@pytest.mark.parametrize(
    ("value", "data"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**63 - 1, "ff" * 8 + "7f")]
)
def test_varints_as_multiformats_has_them(value, data):
    assert frames.encode_varint(value) == bytes.fromhex(data)


@pytest.mark.parametrize("data", ["8000", "ff00", "80" * 9, "ff" * 8 + "8001"])
def test_varints_in_a_longer_form_are_refused(data):
    with pytest.raises(frames.FrameError):
        frames.decode_varint(bytes.fromhex(data))


@pytest.mark.parametrize("value", [-1, 2**63])
def test_values_without_a_varint(value):
    with pytest.raises(ValueError):
        frames.encode_varint(value)


@pytest.mark.spec("WIR-1")
@given(payloads, st.lists(st.integers(0, 400), max_size=5))
def test_a_request_reads_back_in_any_pieces(payload, cuts):
    decoder = frames.RequestDecoder(300)
    for piece in pieces_of(frames.encode_request(payload), cuts):
        decoder.feed(piece)
    assert decoder.finish() == payload


@given(payloads, st.data())
def test_a_request_that_is_cut_short_is_refused(payload, data):
    frame = frames.encode_request(payload)
    decoder = frames.RequestDecoder(300)
    decoder.feed(frame[: data.draw(st.integers(0, len(frame) - 1))])
    with pytest.raises(frames.FrameError):
        decoder.finish()


def test_a_request_with_something_behind_it_is_refused():
    decoder = frames.RequestDecoder(300)
    with pytest.raises(frames.FrameError):
        decoder.feed(frames.encode_request(b"x") + b"y")


@pytest.mark.spec("WIR-1")
def test_a_request_above_the_limit_is_refused_by_its_header():
    frames.RequestDecoder(300).feed(frames.encode_varint(300))
    with pytest.raises(frames.FrameError):
        frames.RequestDecoder(300).feed(frames.encode_varint(301))


@pytest.mark.spec("WIR-2")
@given(chunks, st.lists(st.integers(0, 2000), max_size=8))
def test_a_reply_reads_back_in_any_pieces(payloads, cuts):
    data = b"".join(frames.encode_chunk(frames.OK, payload) for payload in payloads)
    assert decode_reply(data, cuts) == [frames.Chunk(frames.OK, payload) for payload in payloads]


@given(chunks, st.integers(1, 5), st.data())
def test_a_reply_cut_short_in_a_chunk_is_refused(payloads, code, data):
    head = b"".join(frames.encode_chunk(frames.OK, payload) for payload in payloads)
    last = frames.encode_chunk(code, b"reason")
    with pytest.raises(frames.FrameError):
        decode_reply(head + last[: data.draw(st.integers(1, len(last) - 1))])


def test_a_reply_without_a_chunk_is_refused():
    with pytest.raises(frames.FrameError):
        decode_reply(b"")


@pytest.mark.spec("WIR-3")
@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_a_chunk_that_says_no_ends_the_reply(code):
    no = frames.encode_chunk(code, b"reason")
    assert decode_reply(no) == [frames.Chunk(code, b"reason")]
    with pytest.raises(frames.FrameError):
        decode_reply(no + frames.encode_chunk(frames.OK, b""))


@pytest.mark.spec("WIR-3")
@pytest.mark.parametrize("code", [6, 0x17, 255])
def test_unknown_codes(code):
    with pytest.raises(frames.FrameError):
        decode_reply(bytes((code, 0)))
    with pytest.raises(ValueError):
        frames.encode_chunk(code, b"")


@pytest.mark.spec("WIR-2")
def test_chunks_and_replies_above_their_limits_are_refused_by_their_headers():
    assert len(decode_reply(frames.encode_chunk(0, bytes(10)) * 3, max_chunk=10, max_reply=30)) == 3
    for max_chunk, max_reply in ((9, 30), (10, 29)):
        with pytest.raises(frames.FrameError):
            decode_reply(frames.encode_chunk(0, bytes(10)) * 2 + b"\x00\x0a", max_chunk=max_chunk, max_reply=max_reply)


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    try:
        decoded = decode_reply(data)
    except frames.FrameError:
        return
    assert b"".join(frames.encode_chunk(chunk.code, chunk.payload) for chunk in decoded) == data
