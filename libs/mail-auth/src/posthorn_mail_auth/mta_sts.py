"""Reads what MTA-STS has in DNS and on the web, and says which hosts a policy allows (RFC 8461). Pure."""

import re
from collections.abc import Sequence
from typing import Final, cast

from posthorn_mail_auth.tags import MalformedTags, parse_tags
from posthorn_model.mta_sts import Mode, StsPolicy

MAX_POLICY: Final = 65_536
"""Octets."""
MAX_LINES: Final = 2000
MAX_PATTERNS: Final = 200
MAX_AGE: Final = 31_557_600
"""Seconds: RFC 8461 3.2 allows no more, and counts more as that."""
_ID = re.compile(r"[A-Za-z0-9]{1,32}\Z")
_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\Z")


class MalformedPolicy(ValueError):
    """That is no policy; the text says why."""


def policy_id(texts: Sequence[bytes]) -> str | None:
    """The id in the records at _mta-sts (RFC 8461 3.1); None: the domain has no policy, or several records."""
    found = [text for text in texts if text.startswith(b"v=STSv1;")]
    if len(found) != 1:
        return None
    try:
        identity = parse_tags(found[0]).get("id", "")
    except MalformedTags:
        return None
    return identity if _ID.match(identity) else None


def parse_policy(body: bytes) -> StsPolicy:
    """Read what the web server has sent (RFC 8461 3.2). Raises MalformedPolicy."""
    if len(body) > MAX_POLICY:
        raise MalformedPolicy("the policy is too long")
    try:
        lines = body.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise MalformedPolicy("the policy is not UTF-8") from None
    if len(lines) > MAX_LINES:
        raise MalformedPolicy("the policy has too many lines")
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not colon and name:
            raise MalformedPolicy("a line of the policy is no field")
        if name == "mx":
            patterns.append(_pattern(value))
        else:
            fields.setdefault(name, value)  # RFC 8461 3.2: of what is there twice the first counts
    return _policy(fields, patterns)


def allows(policy: StsPolicy, host: str) -> bool:
    """Whether the host is one of the policy's exchangers (RFC 8461 4.1): "*" stands for one whole label."""
    host = host.lower().removesuffix(".")
    above = host.partition(".")[2]
    return host in policy.mx or (bool(above) and f"*.{above}" in policy.mx)


def _pattern(value: str) -> str:
    pattern = value.lower().removesuffix(".")
    if not _PATTERN.match(pattern):
        raise MalformedPolicy("mx of the policy is no host name")
    return pattern


def _policy(fields: dict[str, str], patterns: list[str]) -> StsPolicy:
    if fields.get("version") != "STSv1":
        raise MalformedPolicy("the version of the policy is not STSv1")
    mode = fields.get("mode", "")
    if mode not in ("enforce", "testing", "none"):
        raise MalformedPolicy("the mode of the policy is not enforce, testing or none")
    age = fields.get("max_age", "")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise MalformedPolicy("max_age of the policy is no number")
    if len(patterns) > MAX_PATTERNS or (not patterns and mode != "none"):
        raise MalformedPolicy("the policy names no mail exchangers, or too many")
    return StsPolicy(cast(Mode, mode), tuple(dict.fromkeys(patterns)), min(int(age), MAX_AGE))
