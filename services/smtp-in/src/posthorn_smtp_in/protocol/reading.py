"""Reads one command line into a command value. The line has lost its CRLF; everything odd is a CommandProblem."""

import re
from collections.abc import Callable, Mapping

from posthorn_smtp_in.protocol.commands import Auth, Bare, Bdat, Command, Hello, Mail, Rcpt, Verb
from posthorn_smtp_in.protocol.paths import PathProblem, read_mailbox, split_path
from posthorn_smtp_in.protocol.problems import CommandProblem
from posthorn_smtp_in.protocol.replies import BAD_CHARACTERS, UNKNOWN_COMMAND, Reply, reply
from posthorn_smtp_in.protocol.requests import take_requests

MAX_PARAMETERS = 16
MAX_DIGITS = 20
"""RFC 1870 6.1: a declared size has at most 20 digits."""

NO_ARGUMENT = reply(501, "5.5.4", "This command takes no argument")
BAD_HELLO = reply(501, "5.5.4", "A host name or address literal is needed")
BAD_MAIL = reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]")
BAD_RCPT = reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]")
BAD_BDAT = reply(501, "5.5.4", "Syntax: BDAT size [LAST]")
BAD_AUTH = reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
BAD_PARAMETER = reply(501, "5.5.4", "Bad parameter")
UNKNOWN_PARAMETER = reply(555, "5.5.4", "Parameter not recognized or not implemented")
NEEDS_SMTPUTF8 = reply(553, "5.6.7", "Non-ASCII address needs SMTPUTF8")

_HELLO = re.compile(r"[\x21-\x7e\u0080-\U0010ffff]{1,255}")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\u0080-\U0010ffff]*))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ORCPT = re.compile(r"[A-Za-z0-9-]{1,40};[!-~\u0080-\U0010ffff]{1,500}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


def read_command(line: bytes) -> Command:
    """Read a line without its CRLF; raises CommandProblem."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandProblem(BAD_CHARACTERS) from None
    if _CONTROLS.search(text):
        raise CommandProblem(BAD_CHARACTERS)
    word, _, argument = text.partition(" ")
    reader = _READERS.get(word.upper())
    if reader is None:
        raise CommandProblem(UNKNOWN_COMMAND)
    return reader(argument.strip(" "))


def _hello(verb: Verb) -> Callable[[str], Command]:
    def read(argument: str) -> Command:
        if not _HELLO.fullmatch(argument):
            raise CommandProblem(BAD_HELLO)
        return Hello(verb, argument)

    return read


def _bare(verb: Verb, *, argument_allowed: bool = False) -> Callable[[str], Command]:
    def read(argument: str) -> Command:
        if argument and not argument_allowed:
            raise CommandProblem(NO_ARGUMENT)
        return Bare(verb, argument)

    return read


def _path(argument: str, keyword: str, syntax: Reply) -> tuple[str, dict[str, str | None]]:
    """Path and parameters of `FROM:<...> A=b C`; a space after the colon is tolerated."""
    if argument[: len(keyword)].upper() != keyword:
        raise CommandProblem(syntax)
    try:
        path, rest = split_path(argument[len(keyword) :].lstrip(" "))
    except PathProblem as problem:
        raise CommandProblem(problem.reply) from None
    parameters: dict[str, str | None] = {}
    words = rest.split()
    if len(words) > MAX_PARAMETERS:
        raise CommandProblem(BAD_PARAMETER)
    for word in words:
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in parameters:
            raise CommandProblem(BAD_PARAMETER)
        parameters[match[1].upper()] = match[2]
    return path, parameters


def _mailbox(path: str) -> str:
    try:
        return read_mailbox(path)
    except PathProblem as problem:
        raise CommandProblem(problem.reply) from None


def _mail(argument: str) -> Command:
    path, parameters = _path(argument, "FROM:", BAD_MAIL)
    sender = _mailbox(path) if path else ""
    smtputf8 = False
    if "SMTPUTF8" in parameters:
        if parameters.pop("SMTPUTF8") is not None:
            raise CommandProblem(BAD_PARAMETER)
        smtputf8 = True
    if not sender.isascii() and not smtputf8:
        raise CommandProblem(NEEDS_SMTPUTF8)
    mail = Mail(
        sender=sender,
        size=_size(parameters),
        eight_bit=_choice(parameters, "BODY", frozenset({"7BIT", "8BITMIME"})) == "8BITMIME",
        smtputf8=smtputf8,
        ret=_choice(parameters, "RET", frozenset({"FULL", "HDRS"})),
        envid=_xtext(parameters, "ENVID", 100),
        requests=take_requests(parameters),
    )
    _xtext(parameters, "AUTH", 500)  # RFC 4954 5: accepted, and not trusted
    if parameters:
        raise CommandProblem(UNKNOWN_PARAMETER)
    return mail


def _rcpt(argument: str) -> Command:
    path, parameters = _path(argument, "TO:", BAD_RCPT)
    recipient = _mailbox(path)
    rcpt = Rcpt(recipient=recipient, notify=_notify(parameters), orcpt=_orcpt(parameters))
    if parameters:
        raise CommandProblem(UNKNOWN_PARAMETER)
    return rcpt


def _size(parameters: dict[str, str | None]) -> int:
    if "SIZE" not in parameters:
        return 0
    value = parameters.pop("SIZE") or ""
    if not (value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS):
        raise CommandProblem(BAD_PARAMETER)
    return int(value)


def _choice(parameters: dict[str, str | None], name: str, allowed: frozenset[str]) -> str | None:
    if name not in parameters:
        return None
    value = (parameters.pop(name) or "").upper()
    if value not in allowed:
        raise CommandProblem(BAD_PARAMETER)
    return value


def _xtext(parameters: dict[str, str | None], name: str, limit: int) -> str | None:
    if name not in parameters:
        return None
    value = parameters.pop(name) or ""
    if not value or len(value) > limit or not _XTEXT.fullmatch(value):
        raise CommandProblem(BAD_PARAMETER)
    return value


def _notify(parameters: dict[str, str | None]) -> str | None:
    if "NOTIFY" not in parameters:
        return None
    value = (parameters.pop("NOTIFY") or "").upper()
    words = value.split(",")
    if value != "NEVER" and (len(set(words)) != len(words) or not _NOTIFY.issuperset(words)):
        raise CommandProblem(BAD_PARAMETER)
    return value


def _orcpt(parameters: dict[str, str | None]) -> str | None:
    if "ORCPT" not in parameters:
        return None
    value = parameters.pop("ORCPT") or ""
    if not _ORCPT.fullmatch(value):
        raise CommandProblem(BAD_PARAMETER)
    return value


def _bdat(argument: str) -> Command:
    words = argument.upper().split()
    if len(words) not in (1, 2) or (len(words) == 2 and words[1] != "LAST"):
        raise CommandProblem(BAD_BDAT)
    if not (words[0].isascii() and words[0].isdigit() and len(words[0]) <= MAX_DIGITS):
        raise CommandProblem(BAD_BDAT)
    return Bdat(int(words[0]), last=len(words) == 2)


def _auth(argument: str) -> Command:
    words = argument.split(" ")
    if len(words) not in (1, 2) or not words[0]:
        raise CommandProblem(BAD_AUTH)
    initial = words[1] if len(words) == 2 else None
    if initial is not None and initial != "=" and not _BASE64.fullmatch(initial):
        raise CommandProblem(BAD_AUTH)
    return Auth(words[0].upper(), "" if initial == "=" else initial)  # RFC 4954 4: "=" is an empty response


_READERS: Mapping[str, Callable[[str], Command]] = {
    "EHLO": _hello(Verb.EHLO),
    "HELO": _hello(Verb.HELO),
    "LHLO": _hello(Verb.LHLO),
    "MAIL": _mail,
    "RCPT": _rcpt,
    "DATA": _bare(Verb.DATA),
    "BDAT": _bdat,
    "RSET": _bare(Verb.RSET),
    "NOOP": _bare(Verb.NOOP, argument_allowed=True),
    "QUIT": _bare(Verb.QUIT),
    "VRFY": _bare(Verb.VRFY, argument_allowed=True),
    "EXPN": _bare(Verb.EXPN, argument_allowed=True),
    "HELP": _bare(Verb.HELP, argument_allowed=True),
    "STARTTLS": _bare(Verb.STARTTLS),
    "AUTH": _auth,
}
