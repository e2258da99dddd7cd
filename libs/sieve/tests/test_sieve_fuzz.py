"""Whatever a script or a message holds, nothing but SieveError comes out, and a run ends with an outcome."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn_sieve import EXTENSIONS, Limits, Outcome, Question, SieveError, Situation, compile_script, evaluate
from posthorn_sieve.lexer import tokens
from posthorn_sieve.program import Kind, Word
from posthorn_sieve.words import COMMANDS, TESTS

REQUIRE = ("require [" + ", ".join(f'"{name}"' for name in sorted(EXTENSIONS - {"ihave"})) + "];").encode()
LIMITS = Limits(steps=2_000, seconds=60)

TEXTS = (
    '"subject"', '"from"', '"*"', '"${1}${a}"', '"a@example.org"', '"mailto:a@example.org"', '"a"', '"1"', '"ge"',
    '"+0100"', '"year"', '"x*?y"', '"i;octet"', '"(a+)+"', '"text"', 'text:\r\nContent-Type: a/b\r\n\r\nx\r\n.\r\n',
    '"\\\\Seen"', '"${hex:00}"', '""', '"received"', '"name"',
)  # fmt: skip
texts = st.sampled_from(TEXTS)
lists = st.one_of(texts, st.lists(texts, min_size=1, max_size=3).map(lambda several: f"[{', '.join(several)}]"))
values = {
    Kind.NUMBER: st.sampled_from(["0", "1", "2K", "9"]),
    Kind.TEXT: texts,
    Kind.TEXTS: lists,
    Kind.CONSTANT: texts,
    Kind.CONSTANTS: lists,
}


def written(name: str, word: Word) -> st.SearchStrategy[str]:
    """A command or test with arguments of the kinds it takes, now and then one of another kind."""
    tags = [
        st.just(f":{tag}") if spec.takes is None else values[spec.takes].map(lambda value, tag=tag: f":{tag} {value}")
        for tag, spec in word.tags.items()
    ]
    some = st.lists(st.one_of(tags), max_size=3, unique=True) if tags else st.just([])
    stray = st.lists(st.sampled_from(["1", ":is", '"x"']), max_size=1) if name in ("keep", "size") else st.just([])
    return st.tuples(some, *(values[kind] for kind in word.positional), stray).map(
        lambda parts: " ".join([name, *parts[0], *parts[1:-1], *parts[-1]])
    )


def plain(words: Mapping[str, Word]) -> list[st.SearchStrategy[str]]:
    return [written(name, word) for name, word in words.items() if word.tests.value == 0 and not word.block]


tests = st.recursive(
    st.one_of(plain(TESTS)),
    lambda inner: st.one_of(
        inner.map(lambda test: f"not {test}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: f"anyof ({', '.join(several)})"),
    ),
    max_leaves=3,
)
commands = st.recursive(
    st.one_of(plain(COMMANDS)).map(lambda command: f"{command};"),
    lambda inner: st.one_of(
        st.builds(lambda test, block: f"if {test} {{ {' '.join(block)} }}", tests, st.lists(inner, max_size=3)),
        st.lists(inner, max_size=3).map(lambda block: f"foreverypart {{ {' '.join(block)} }}"),
    ),
    max_leaves=6,
)
MESSAGE = (
    b"Received: a; Mon, 2 Mar 2026 10:00:00 +0000\r\nFrom: a@example.org\r\nTo: b@example.com\r\nSubject: x(y\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>"
    b"\r\n--b--"
)


def run(script: bytes, message: bytes) -> None:
    try:
        compiled = compile_script(script)
    except SieveError:
        return
    situation = Situation(message, "a@example.org", "b@example.com", datetime(2026, 1, 1, tzinfo=UTC), limits=LIMITS)
    situation = replace(situation, scripts={("personal", "a"): compiled, ("global", "subject"): compiled})
    result = evaluate(compiled, situation)
    while isinstance(result, Question):
        situation = replace(situation, seen={**situation.seen, result.key: False})
        result = evaluate(compiled, situation)
    assert isinstance(result, Outcome)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets(script: bytes) -> None:
    with suppress(SieveError):
        list(tokens(script))
    run(script, MESSAGE)


@settings(max_examples=400, deadline=None)
@given(st.lists(commands, max_size=5), st.binary(max_size=300))
def test_scripts_of_known_words(script: list[str], junk: bytes) -> None:
    run(REQUIRE + "\r\n".join(script).encode(), MESSAGE)
    run(REQUIRE + "\r\n".join(script).encode(), junk)


PROBE = (
    b'set "n" ""; foreverypart { extracttext "t"; set "n" "${n}${t}";'
    b' if header :mime :anychild :param "name" "content-type" "x" { replace "y"; } } enclose "z";'
    b' if body :contains "q" { addheader "X" "${n}"; } deleteheader :matches "subject" "*";'
    b' if allof (date "date" "year" "1", address :detail "to" "x", size :over 1) { vacation "v"; }'
    b' if header :matches ["from", "subject"] "*?*" { set "m" "${1}"; fileinto "x${2}"; }'
)


def test_the_probe_is_a_script() -> None:
    assert len(compile_script(REQUIRE + PROBE).block) == 7


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=600), st.lists(st.sampled_from(MESSAGE.split(b"\r\n")), max_size=20).map(b"\r\n".join))
)
def test_any_message(message: bytes) -> None:
    run(REQUIRE + PROBE, message)
