"""Reverse-paths and forward-paths of MAIL and RCPT (RFC 5321 4.1.2, RFC 6531 3.3).

Reads the angle-bracketed path at the start of an argument and returns the address in canonical form. Does not judge
whether the address exists; accepts dots anywhere in a local part, as real addresses have them.
"""

import ipaddress
import re

from posthorn_smtp_in.protocol.replies import Reply, reply

MAX_PATH = 320
"""Octets between the brackets; more than the 256 of RFC 5321 4.5.3.1.3, since local parts of bounces are long."""

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff"
_ROUTE = re.compile(r"@[^\s<>:\"]{1,255}:")
_DOT_STRING = re.compile(rf"[{_ATEXT}.]+")
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*)"')
_DOMAIN = re.compile(r"[A-Za-z0-9_\-\u0080-\U0010ffff]{1,63}(?:\.[A-Za-z0-9_\-\u0080-\U0010ffff]{1,63})*\.?")
_LITERAL = re.compile(r"\[(IPv6:)?([0-9A-Fa-f:.]+)\]", re.IGNORECASE)

BAD_PATH = reply(501, "5.1.3", "Bad address syntax, expected <local@domain>")
PATH_TOO_LONG = reply(501, "5.1.3", "Address too long")


class PathProblem(Exception):
    """The path cannot be read; `reply` says so in SMTP's words."""

    def __init__(self, problem: Reply) -> None:
        self.reply = problem
        super().__init__(problem.lines[0])


def split_path(argument: str) -> tuple[str, str]:
    """Split `<path> parameters` into the text between the brackets and the rest; raises PathProblem.

    Brackets inside a quoted local part do not end the path.
    """
    if not argument.startswith("<"):
        raise PathProblem(BAD_PATH)
    quoted = False
    position = 1
    while position < len(argument):
        character = argument[position]
        if quoted and character == "\\":
            position += 1
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            rest = argument[position + 1 :]
            if rest and not rest.startswith(" "):
                raise PathProblem(BAD_PATH)
            return argument[1:position], rest.strip(" ")
        position += 1
    raise PathProblem(BAD_PATH)


def read_mailbox(text: str) -> str:
    """Canonical "local@domain" of a path without brackets: route dropped, needless quotes gone, domain lower case.

    Raises PathProblem. "postmaster" alone is returned as it is (RFC 5321 4.1.1.3).
    """
    if len(text.encode()) > MAX_PATH:
        raise PathProblem(PATH_TOO_LONG)
    if text.startswith("@"):  # source routes are accepted and ignored (RFC 5321 appendix C)
        route = _ROUTE.match(text)
        if route is None:
            raise PathProblem(BAD_PATH)
        text = text[route.end() :]
    if text.lower() == "postmaster":
        return "postmaster"
    local, domain = _split_mailbox(text)
    return f"{local}@{read_domain(domain)}"


def _split_mailbox(text: str) -> tuple[str, str]:
    quoted = _QUOTED.match(text)
    if quoted is not None:
        local, rest = re.sub(r"\\(.)", r"\1", quoted[1]), text[quoted.end() :]
        if not _DOT_STRING.fullmatch(local):
            local = quoted[0]
    else:
        plain = _DOT_STRING.match(text)
        if plain is None:
            raise PathProblem(BAD_PATH)
        local, rest = plain[0], text[plain.end() :]
    if not rest.startswith("@"):
        raise PathProblem(BAD_PATH)
    return local, rest[1:]


def read_domain(text: str) -> str:
    """Lower-case domain or address literal without a final dot; raises PathProblem."""
    literal = _LITERAL.fullmatch(text)
    if literal is not None:
        try:
            address = ipaddress.ip_address(literal[2])
        except ValueError:
            raise PathProblem(BAD_PATH) from None
        if (address.version == 6) != bool(literal[1]):
            raise PathProblem(BAD_PATH)
        return f"[{'IPv6:' if address.version == 6 else ''}{address}]"
    if len(text.encode()) > 255 or not _DOMAIN.fullmatch(text):
        raise PathProblem(BAD_PATH)
    return text.lower().rstrip(".")
