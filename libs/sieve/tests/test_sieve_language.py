"""The grammar of RFC 5228 2 and 8, and what the author of a broken script reads."""

import pytest

from posthorn_sieve import InvalidScript, Limits, compile_script
from posthorn_sieve.lexer import Kind, tokens


def words(script: bytes) -> list[tuple[Kind, str | int]]:
    return [(token.kind, token.number if token.kind is Kind.NUMBER else token.text) for token in tokens(script)][:-1]


def test_tokens_of_each_kind() -> None:
    assert words(b'If :Is 2K "a\\"b\\\\c" [ ] # note\r\n /* more\r\n */ ; {}(),') == [
        (Kind.WORD, "if"), (Kind.TAG, "is"), (Kind.NUMBER, 2048), (Kind.STRING, 'a"b\\c'),
        *((Kind.MARK, mark) for mark in "[];{}(),"),
    ]  # fmt: skip


def test_numbers_have_units() -> None:
    assert words(b"1 1k 1M 3G") == [(Kind.NUMBER, n) for n in (1, 1 << 10, 1 << 20, 3 << 30)]


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_text_loses_its_stuffed_dots(end: bytes) -> None:
    script = end.join([b"text: # note", b"one", b"..two", b".three", b".", b";"])
    assert words(script) == [(Kind.STRING, "one\r\n.two\r\n.three\r\n"), (Kind.MARK, ";")]


def test_an_empty_text() -> None:
    assert words(b"text:\r\n.\r\n") == [(Kind.STRING, "")]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (b'keep;\r\n  "open', "line 2, column 3: a string has no closing quote"),
        (b"/* open", "line 1, column 1: a comment has no end"),
        (b"text:\r\nnever", "line 1, column 1: a text: has no line with a single dot at its end"),
        (b"if size :over 1X {}", "line 1, column 15: a number ends in K, M or G, not in 'X'"),
        (b"if size :over 12abc {}", "line 1, column 15: a number is digits and one of K, M, G"),
        (b"if size :over 99999999999999999999999 {}", "line 1, column 15: a number is too large"),
        (b"keep;\nkeep\xff;", "line 2, column 5: that is not UTF-8"),
        (b"keep;\n\0", "line 2: NUL is not allowed"),
        (b"keep; @", "line 1, column 7: unexpected character '@'"),
        (b"keep", "line 1, column 5: expected ';' or a block after 'keep', not the end of the script"),
        (b"if true { keep;", "line 1, column 16: a block has no closing brace"),
        (b"}", "line 1, column 1: a command begins with its name, not with '}'"),
        (b'if header ["a" "b"] "c" {}', "line 1, column 16: expected ',' or ']' in a list of strings, not a string"),
        (b'if header [] "c" {}', "line 1, column 12: expected a string in a list, not ']'"),
        (b"if anyof (true; {}", "line 1, column 15: expected ',' or ')' in a list of tests, not ';'"),
        (b"if not {}", "line 1, column 4: 'not' takes one test"),
        (b"frobnicate;", "line 1, column 1: unknown command 'frobnicate' (no extension has it)"),
        (b"if maybe {}", "line 1, column 4: unknown test 'maybe' (no extension has it)"),
        (b"header;", "line 1, column 1: 'header' is a test, not a command"),
        (b'require "nonsense";', "line 1, column 1: unknown extension 'nonsense'"),
        (b'keep; require "fileinto";', "line 1, column 7: require must stand before all other commands"),
        (b'fileinto "x";', "line 1, column 1: 'fileinto' needs the extension 'fileinto': require \"fileinto\""),
        (b'redirect :copy "a@b.c";', "line 1, column 10: ':copy' needs the extension 'copy': require \"copy\""),
        (b'redirect "nobody";', "line 1, column 1: 'nobody' is not an address: an address is local@domain"),
        (b"keep :bogus;", "line 1, column 6: 'keep' has no tag ':bogus' (no extension has it)"),
        (b'if header :is :contains "a" "b" {}', "line 1, column 15: ':contains' excludes ':is'"),
        (b'if header "a" :is "b" {}',
         "line 1, column 15: ':is' must stand before the positional arguments of 'header'"),
        (b'if header "a" {}', "line 1, column 4: 'header' takes a string list, a string list"),
        (b'if header 1 "b" {}', "line 1, column 11: 'header' takes a string list here"),
        (b'if header :comparator "i;none" "a" "b" {}', "line 1, column 4: unknown comparator 'i;none'"),
        (b'if header "a b" "c" {}', "line 1, column 4: 'a b' is not the name of a header field"),
        (b'if address "subject" "c" {}', "line 1, column 4: the header field 'subject' holds no addresses"),
        (b"if size 1 {}", "line 1, column 4: 'size' takes no arguments"),
        (b"if size {}", "line 1, column 4: 'size' takes :over or :under"),
        (b"else { keep; }", "line 1, column 1: 'else' does not follow an 'if' or 'elsif'"),
        (b"if true {} keep; elsif true {}", "line 1, column 18: 'elsif' does not follow an 'if' or 'elsif'"),
        (b"if true;", "line 1, column 1: 'if' needs a block"),
        (b"keep {}", "line 1, column 1: 'keep' takes no block"),
        (b"if (true) {}", "line 1, column 1: 'if' takes one test"),
        (b"if allof true {}", "line 1, column 4: 'allof' takes tests in parentheses"),
    ],
)  # fmt: skip
def test_what_the_author_reads(script: bytes, problem: str) -> None:
    with pytest.raises(InvalidScript) as caught:
        compile_script(script)
    assert caught.value.public == problem


def test_size_and_nesting_are_bounded() -> None:
    with pytest.raises(InvalidScript, match="larger than 100 octets"):
        compile_script(b"#" * 101, Limits(script_size=100))
    with pytest.raises(InvalidScript, match="blocks are nested deeper than 32"):
        compile_script(b"if true {" * 40 + b"}" * 40)
    with pytest.raises(InvalidScript, match="tests are nested deeper than 32"):
        compile_script(b"if " + b"not " * 5_000 + b"true {}")
    with pytest.raises(InvalidScript, match="more than 1000 strings"):
        compile_script(b"if header [" + b'"a",' * 2_000 + b'"a"] "b" {}')
    # RFC 5228 2.1: fifteen levels of each are served
    compile_script(b"if true {" * 15 + b"if " + b"not " * 15 + b"true {}" + b"}" * 15)


def test_every_extension_may_be_required() -> None:
    from posthorn_sieve import EXTENSIONS

    names = ", ".join(f'"{name}"' for name in sorted(EXTENSIONS))
    assert compile_script(f"require [{names}];".encode()).extensions == EXTENSIONS
