"""The public test suite of SPF, over a real DNS server: every case, every result that the suite permits."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dns.name
import yaml

from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_mail_auth.spf.checking import check
from posthorn_testkit.dns import DnsServer

NOTHING = "DEFAULT"
TIMEOUT = 2.0
"""Seconds; the suite has names that are never answered."""


def absolute(name: str) -> str:
    """A name as the server knows it: odd octets escaped."""
    labels = [label for label in name.encode("utf-8").split(b".") if label]
    return dns.name.Name([*labels, b""]).to_text(omit_final_dot=True).lower()


def quoted(value: str | list[str]) -> str:
    """A TXT record of one or several strings, each of at most 255 octets."""
    strings = [value] if isinstance(value, str) else value or [""]
    pieces = []
    for string in strings:
        # Latin-1 where it fits: the suite's own octets, one each.
        raw = string.encode("latin-1", "replace")
        pieces += [raw[start : start + 255] for start in range(0, len(raw), 255)] or [b""]
    return " ".join('"' + "".join(f"\\{octet:03}" for octet in piece) + '"' for piece in pieces)


def zone_of(data: Mapping[str, list[Any]]) -> dict[str, dict[str, list[str]]]:
    """The suite's zone data as records; SPF records are TXT records unless there are any (RFC 7208 3.1)."""
    zone: dict[str, dict[str, list[str]]] = {}
    for name, entries in data.items():
        kinds: dict[str, list[str]] = {}
        spf: list[str] = []
        late = False
        for entry in entries:
            if entry == "TIMEOUT":
                late = True
                continue
            ((kind, value),) = entry.items()
            match kind:
                case "SPF":
                    spf.append(quoted(value))
                case "TXT":
                    kinds.setdefault("TXT", []).extend([] if value == "NONE" else [quoted(value)])
                case "MX":
                    kinds.setdefault("MX", []).append(f"{value[0]} {absolute(value[1]).rstrip('.')}.")
                case "PTR" | "CNAME":
                    kinds.setdefault(kind, []).append(f"{absolute(value).rstrip('.')}.")
                case _:
                    kinds.setdefault(kind, []).append(value)
        kinds.setdefault("TXT", spf)
        if late:
            for kind in ("TXT", "A", "AAAA", "MX", "PTR"):
                if not kinds.get(kind):
                    kinds[f"{kind}?"] = []
        zone[absolute(name)] = kinds
    return zone


def cases(folder: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, dict[str, list[str]]]]]:
    for document in yaml.safe_load_all((folder / "spf" / "rfc7208-tests.yml").read_text(encoding="utf-8")):
        zone = zone_of(document["zonedata"])
        for name, case in document["tests"].items():
            yield f"{document['description']}: {name}", case, zone


async def test_the_suite_of_rfc_7208(corpus_folder: Path) -> None:
    wrong: list[str] = []
    count = 0
    for name, case, zone in cases(corpus_folder):
        async with DnsServer(zone) as server:
            silent = any(kind.endswith("?") for kinds in zone.values() for kind in kinds)
            resolver = DnsResolver([("127.0.0.1", server.port)], timeout=TIMEOUT if silent else 20.0)
            found = await check(
                resolver, address=case["host"], sender=case["mailfrom"], hello=case["helo"], receiver="receiver.test"
            )
        allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
        if found.result.value not in allowed:
            wrong.append(f"{name}: {found.result.value} ({found.reason}), not {allowed}")
        explanation = case.get("explanation")
        if explanation is not None and found.result.value == "fail":
            known = "" if explanation == NOTHING else explanation
            if found.explanation.lower() != known.lower():
                wrong.append(f"{name}: says {found.explanation!r}, not {known!r}")
        count += 1
    assert not wrong, "\n".join(wrong)
    assert count > 190
