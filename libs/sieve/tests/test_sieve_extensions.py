"""The extensions that test and keep: variables, flags, addresses, dates, bodies and what else looks at a message."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from posthorn_sieve import InvalidScript, Outcome, Score, compile_script
from posthorn_sieve.actions import FileInto, Keep, Redirect

Filtered = Callable[..., Outcome]
Holds = Callable[..., bool]
NUMERIC = "comparator-i;ascii-numeric"


@pytest.mark.parametrize(
    ("script", "mailbox"),
    [
        ('set "a" "x"; fileinto "${a}${A}";', "xx"),
        ('set "a" "x"; fileinto "[${b}]";', "[]"),
        ('fileinto "${}${a b}$${";', "${}${a b}$${"),
        ('set :upper "a" "straße"; fileinto "${a}";', "STRASSE"),
        ('set :lower :upperfirst "a" "JUMBLED letters"; fileinto "${a}";', "Jumbled letters"),
        ('set :upperfirst :lower "a" "JUMBLED letters"; fileinto "${a}";', "Jumbled letters"),
        ('set :lowerfirst "a" "ABC"; fileinto "${a}";', "aBC"),
        ('set :length "a" "日本"; fileinto "${a}";', "2"),
        ('set :quotewildcard "a" "a*?\\\\"; fileinto "${a}";', "a\\*\\?\\\\"),
        ('set :quoteregex "a" "a.b"; fileinto "${a}";', "a\\.b"),
        ('set :encodeurl "a" "ä b/c"; fileinto "${a}";', "%C3%A4%20b%2Fc"),
        ('if header :matches "subject" "* at *" { fileinto "${1}-${2}-${0}"; }', "Café-noon-Café at noon"),
        ('if header :matches "subject" "?*" { fileinto "${1}|${2}"; }', "C|afé at noon"),
        ('if header :matches "subject" "*n*n" { fileinto "${1}|${2}|${3}"; }', "Café at |oo|"),
        ('if string :matches "a.b.c" "*.*" { fileinto "${1}|${2}"; }', "a|b.c"),
        ('if header :regex "subject" "([a-z]+)n$" { fileinto "${1}|${0}"; }', "noo|noon"),
        ('if header :matches "subject" "*x" { stop; } fileinto "[${0}]";', "[]"),
        ('if string "a" "A" { fileinto "ok"; }', "ok"),
    ],
)
def test_variables(filtered: Filtered, script: str, mailbox: str) -> None:
    outcome = filtered(script, "variables", "fileinto", "regex", "enotify")
    assert (outcome.fault, outcome.actions) == (None, (FileInto(mailbox),))


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ('require "variables"; set "1" "x";', "'1' is not the name of a variable"),
        ('require "variables"; set "a b" "x";', "'a b' is not the name of a variable"),
        ('require ["variables", "fileinto"]; fileinto "${x.y}";', "there is no namespace 'x' for variables"),
        ('require "variables"; set :lower :upper "a" "x";', "':upper' excludes ':lower'"),
        ('require "variables"; set "${a}" "x";', "'set' takes a constant string here, without variables"),
        ('require ["include", "variables"]; include "${a}";', "'include' takes a constant string here"),
        ('require "regex"; if header :regex "a" "(" {}', "that is not a regular expression: missing ): ("),
        ('require "date"; if currentdate "epoch" "1" {}', "a date has no part 'epoch'"),
        ('require "relational"; if header :value "xx" "a" "b" {}', "'xx' is none of gt, ge, lt, le, eq, ne"),
        (f'require "{NUMERIC}"; if header :contains :comparator "i;ascii-numeric" "a" "1" {{}}',
         "':contains' cannot be used with i;ascii-numeric"),
        ('require "enotify"; notify "xmpp:a@b";', "no way to notify"),
        ('require ["vacation", "vacation-seconds"]; vacation :days 1 :seconds 2 "x";', "':seconds' excludes ':days'"),
        ('require "imap4flags"; setflag "a" "b";', "needs the extension 'variables'"),
        ('require "foreverypart"; break;', "'break' stands outside of a foreverypart"),
        ('require ["foreverypart", "mime", "extracttext"]; foreverypart { extracttext "a"; }',
         "needs the extension 'variables'"),
        ('require "mime"; if header :type "content-type" "text" {}', "go with ':mime'"),
        ('require "index"; if header :last "subject" "x" {}', "':last' goes with ':index'"),
        ('require "editheader"; addheader "a b" "x";', "'a b' is not the name of a header field"),
    ],
)  # fmt: skip
def test_what_is_refused_before_any_message(script: str, problem: str) -> None:
    with pytest.raises(InvalidScript) as caught:
        compile_script(script.encode())
    assert problem in caught.value.public


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ('setflag "\\\\Seen"; keep;', ("\\Seen",)),
        ('setflag ["\\\\seen \\\\Bogus", "Later"]; addflag "later $x";', ("\\Seen", "Later", "$x")),
        ('setflag "a b c"; removeflag "B";', ("a", "c")),
        ('setflag "a"; keep :flags ["\\\\Flagged", "b"];', ("\\Flagged", "b")),
        ('setflag "v" "a b"; addflag "v" "c"; removeflag "v" "a"; keep :flags "${v}";', ("b", "c")),
        ('setflag "bad{flag (also";', ()),
    ],
)
def test_flags(filtered: Filtered, script: str, flags: tuple[str, ...]) -> None:
    assert filtered(script, "imap4flags", "variables").actions == (Keep(flags),)


@pytest.mark.parametrize(
    ("test", "result"),
    [
        ('hasflag "a"', True),
        ('hasflag ["x", "B"]', True),
        ('hasflag "x"', False),
        ('hasflag :contains "v" "ee"', True),
        ('hasflag :count "ge" "2"', True),
        ('hasflag :count "ge" "3"', False),
    ],
)
def test_having_flags(filtered: Filtered, test: str, result: bool) -> None:
    script = f'setflag "a b"; setflag "v" "seen"; if {test} {{ discard; stop; }} keep;'
    outcome = filtered(script, "imap4flags", "variables", "relational")
    assert (outcome.actions == ()) is result


def test_filing_with_flags_and_copies(filtered: Filtered) -> None:
    script = 'fileinto :copy :flags "a" :create "New"; redirect :copy "eve@example.org";'
    assert filtered(script, "fileinto", "copy", "imap4flags", "mailbox").actions == (
        FileInto("New", ("a",), create=True),
        Redirect("eve@example.org"),
        Keep(),
    )
    twice = filtered('fileinto :flags "a" "X"; fileinto :flags "b" "X";', "fileinto", "imap4flags")
    assert twice.actions == (FileInto("X", ("a", "b")),)


@pytest.mark.parametrize(
    ("test", "extension", "result"),
    [
        ('address :user "to" "bob"', "subaddress", True),
        ('address :detail "to" "news"', "subaddress", True),
        ('address :detail "from" ""', "subaddress", False),
        ('address :user "from" "ann"', "subaddress", True),
        ('header :count "eq" "received" "2"', "relational", True),
        ('address :count "gt" ["to", "cc"] "2"', "relational", True),
        ('header :value "lt" "x-priority" "5"', "relational", True),
        ('header :value "gt" :comparator "i;ascii-numeric" "x-priority" "10"', NUMERIC, False),
        ('header :comparator "i;ascii-numeric" "x-priority" "003"', NUMERIC, True),
        ('header :index 1 :contains "received" "c by a"', "index", False),
        ('header :index 2 :contains "received" "c by a"', "index", True),
        ('header :index 1 :last :contains "received" "c by a"', "index", True),
        ('header :index 3 :contains "received" ""', "index", False),
        ('mailboxexists ["inbox", "Work/2026"]', "mailbox", True),
        ('mailboxexists ["Work", "None"]', "mailbox", False),
        ('specialuse_exists "\\\\Junk"', "special-use", True),
        ('specialuse_exists "Spam" "\\\\junk"', "special-use", True),
        ('specialuse_exists "Work" "\\\\Junk"', "special-use", False),
        ('specialuse_exists ["\\\\Junk", "\\\\Sent"]', "special-use", False),
        ('environment "name" "Posthorn"', "environment", True),
        ('environment "NAME" "posthorn"', "environment", True),
        ('environment "moon" ""', "environment", False),
        ('ihave "fileinto"', "ihave", True),
        ('ihave ["fileinto", "telepathy"]', "ihave", False),
        ('valid_notify_method ["mailto:a@example.org", "mailto:b@example.org?subject=x"]', "enotify", True),
        ('valid_notify_method "tel:1234"', "enotify", False),
        ('valid_notify_method "mailto:nobody"', "enotify", False),
        ('notify_method_capability "mailto:a@example.org" "online" ["yes", "maybe"]', "enotify", True),
        ('header :regex "subject" "^caf.*(noon|midnight)$"', "regex", True),
        ('header :regex "subject" "[[:digit:]]"', "regex", False),
        ('header :regex :comparator "i;octet" "subject" "^caf"', "regex", False),
    ],
)
def test_tests_of_extensions(holds: Holds, test: str, extension: str, result: bool) -> None:
    extensions = [extension] if extension != NUMERIC else [NUMERIC, "relational"]
    assert holds(test, *extensions, environment={"name": "Posthorn"}) is result


@pytest.mark.parametrize(
    ("test", "result"),
    [
        ('date "date" "year" "2026"', True),
        ('date "date" "hour" "09"', True),
        ('date :originalzone "date" "hour" "11"', True),
        ('date :zone "-0500" "date" "time" "04:30:15"', True),
        ('date "date" "weekday" "1"', True),
        ('date "date" "julian" "61101"', True),
        ('date :originalzone "date" "zone" "+0200"', True),
        ('date :originalzone "date" "iso8601" "2026-03-02T11:30:15+02:00"', True),
        ('date :originalzone "date" "std11" "Mon, 02 Mar 2026 11:30:15 +0200"', True),
        ('date :index 2 "received" "minute" "59"', True),
        ('date :value "ge" "date" "date" "2026-03-03"', False),
        ('date "subject" "year" "2026"', False),
        ('currentdate "date" "2026-03-02"', True),
        ('currentdate :zone "+1300" "day" "03"', True),
        ('allof(currentdate :value "ge" "date" "2026-03-01", currentdate :value "le" "date" "2026-03-31")', True),
    ],
)
def test_dates(holds: Holds, test: str, result: bool) -> None:
    assert holds(test, "date", "relational", "index") is result


MIXED = (
    b"From: ann@example.org\r\nTo: bob@example.com\r\nSubject: parts\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\nbefore\r\n'
    b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=FC=DFe=\r\n aus Wien\r\n"
    b"--b\r\nContent-Type: text/html\r\n\r\n<p>bold <b>words</b></p>\r\n"
    b'--b\r\nContent-Type: application/x-sh; name="run.sh"\r\nContent-Disposition: attachment; filename="run.sh"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nZWNobyBoaQo=\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nFrom: eve@example.net\r\n\r\ninner text\r\n"
    b"--b--\r\nafter\r\n"
)


@pytest.mark.parametrize(
    ("test", "result"),
    [
        ('body :contains "GRüßE AUS Wien"', True),
        ('body :contains "bold words"', True),
        ('body :contains "<b>"', False),
        ('body :raw :contains "Gr=FC=DFe"', True),
        ('body :raw :contains "Grüße"', False),
        ('body :content "text/html" :contains "<b>"', True),
        ('body :content "text" :contains "Grüße"', True),
        ('body :content "application/x-sh" :contains "echo hi"', True),
        ('body :content ["audio", "text/x"] :contains ""', False),
        ('body :content "multipart" :contains "after"', True),
        ('body :content "multipart" :contains "Wien"', False),
        ('body :content "message" :contains "inner"', True),
        ('body :text :matches "*inner text*"', True),
        ('header :mime :anychild :contains "content-type" "x-sh"', True),
        ('header :mime :contains "content-type" "x-sh"', False),
        ('header :mime :anychild :param "filename" "content-disposition" "RUN.sh"', True),
        ('header :mime :anychild :subtype "content-type" "html"', True),
        ('header :mime :type "content-type" "multipart"', True),
        ('header :mime :anychild :contenttype "content-type" "application/x-sh"', True),
        ('address :mime :anychild "from" "eve@example.net"', True),
        ('address "from" "eve@example.net"', False),
        ('exists :mime :anychild "content-disposition"', True),
        ('exists "content-disposition"', False),
    ],
)
def test_bodies_and_parts(holds: Holds, test: str, result: bool) -> None:
    assert holds(test, "body", "mime", content=MIXED) is result


def test_a_body_binds_no_variables(filtered: Filtered) -> None:
    script = 'if body :matches "*meet*" { fileinto "[${0}]"; }'
    assert filtered(script, "body", "variables", "fileinto").actions == (FileInto("[]"),)


def test_scores_of_filters(holds: Holds) -> None:
    level = 'spamtest :value "ge" :comparator "i;ascii-numeric" "{}"'
    extensions = ("spamtest", "spamtestplus", "virustest", "relational", NUMERIC)
    spam = {"spam": Score(True, 0.5), "virus": Score(True, 1.0)}
    assert holds(level.format(5), *extensions, **spam)
    assert not holds(level.format(7), *extensions, **spam)
    assert holds('spamtest :percent "50"', *extensions, **spam)
    assert holds('virustest "5"', *extensions, **spam)
    assert holds('spamtest "0"', *extensions)
    assert holds('spamtest :count "eq" "0"', *extensions)


def test_what_is_not_there_waits_for_the_run(filtered: Filtered) -> None:
    script = 'if ihave "telepathy" { think "x"; } elsif ihave "fileinto" { keep; } else { error "neither"; }'
    assert filtered(script, "ihave").actions == (Keep(),)
    failing = filtered('discard; think "x";', "ihave")
    assert failing.actions == (Keep(),)
    assert failing.fault is not None
    assert "unknown command 'think'" in failing.fault.public
    said = filtered('error "no luck";', "ihave").fault
    assert said is not None
    assert said.problem == "no luck"


def test_included_scripts(filtered: Filtered) -> None:
    inner = compile_script(
        b'require ["include", "variables", "fileinto"]; global "shared"; set "own" "x";\r\n'
        b'fileinto "${shared}${global.other}${own}"; return; discard;'
    )
    script = (
        'global ["shared"]; set "shared" "a"; set "global.other" "b"; set "own" "outer";'
        'include :once "inner"; include :once "inner"; include :global :optional "none"; fileinto "${own}";'
    )
    extensions = ("include", "variables", "fileinto")
    outcome = filtered(script, *extensions, scripts={("personal", "inner"): inner})
    assert outcome.actions == (FileInto("abx"), FileInto("outer"))
    missing = filtered('include "inner";', *extensions)
    assert missing.fault is not None
    assert "there is no personal script 'inner'" in missing.fault.public
    assert compile_script(b'require "include"; include :global "a"; include "b";').includes == {
        ("global", "a"),
        ("personal", "b"),
    }


def test_stop_in_an_included_script_ends_all(filtered: Filtered) -> None:
    inner = compile_script(b"stop;")
    assert filtered('include "inner"; discard;', "include", scripts={("personal", "inner"): inner}).actions == (Keep(),)


def test_dates_without_a_zone_are_the_servers(holds: Holds) -> None:
    assert holds('currentdate "hour" "23"', "date", now=datetime(2026, 1, 1, 23, tzinfo=UTC))
