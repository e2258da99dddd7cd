"""How a message reaches the cluster: one connection of a client, made when it is needed.

A courier offers a message once. It returns when the server has acknowledged it, raises PutOff where the server asks to
try again later, OSError or EOFError when the connection broke, and RefusedForGood otherwise. It never tries twice.
"""

import base64
import http.client
import imaplib
import json
import smtplib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from tests.faults.ledger import Ledger, message

from posthorn_testkit.cluster import Reachable

SENDER = "somebody@ledger.test"
PASSING = ("serverFail", "serverUnavailable", "serverPartialFail")
"""Errors of JMAP that are no fault of the client's (RFC 8620 3.6.2)."""


class PutOff(Exception):
    """The server asked to try again later."""


class RefusedForGood(AssertionError):
    """The server refused a proper message."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom mail is sent to; `password` is empty where it lies outside."""

    name: str
    password: str = field(default="", repr=False)
    content: bytes = field(default=b"", repr=False)
    """What to send; where it is empty, the ledger's own message for the token."""
    sender: str = SENDER
    """The envelope's sender where no login says otherwise."""
    size: int = 600
    """Octets, about, of the ledger's own message."""

    def letter(self, token: str, sender: str) -> bytes:
        """The content to send under a token."""
        return self.content or message(token, sender, self.name, self.size)


class Courier(Protocol):
    """See the head of this file."""

    repeats: ClassVar[bool]
    """Whether the same message may be offered again when its reply was lost."""

    def send(self, node: int, token: str, target: Target) -> None:
        """Offer a message to a node, over the open connection if there is one."""
        ...

    def close(self) -> None:
        """Drop the connection without ceremony."""
        ...


class SmtpCourier:
    """To the port that takes mail from outside; with a `login` to the one for the cluster's own users."""

    repeats: ClassVar[bool] = True

    def __init__(self, cluster: Reachable, ledger: Ledger, login: Target | None = None) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._login = login
        self._client: smtplib.SMTP | None = None

    def send(self, node: int, token: str, target: Target) -> None:
        if self._client is None:
            self._client = smtplib.SMTP(timeout=self._cluster.reply_seconds)
            self._connect(self._client, node)
        sender = self._login.name if self._login else target.sender
        content = target.letter(token, sender)
        _take(self._client.mail(sender, ["BODY=8BITMIME"]))
        _take(self._client.rcpt(target.name))
        # From the command on the content is under way as soon as the server asks for it.
        self._ledger.offer(token, content)
        try:
            _take(self._client.data(content))
        except smtplib.SMTPDataError as refused:
            _take((refused.smtp_code, _text(refused.smtp_error)))

    def _connect(self, client: smtplib.SMTP, node: int) -> None:
        protocol = "submission" if self._login else "smtp"
        _take(client.connect(*self._cluster.address(protocol, node)))
        _take(client.ehlo("outside.ledger.test"))
        if self._login:
            try:
                client.login(self._login.name, self._login.password)
            except smtplib.SMTPAuthenticationError as refused:
                _take((refused.smtp_code, _text(refused.smtp_error)))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _text(words: bytes | str) -> bytes:
    return words if isinstance(words, bytes) else words.encode()


def _take(reply: tuple[int, bytes]) -> None:
    if reply[0] // 100 == 4:
        raise PutOff(reply)
    if reply[0] // 100 != 2:
        raise RefusedForGood(reply)


class AppendCourier:
    """By IMAP APPEND, which cannot tell a repeat: what was not answered is left, and another message is made."""

    repeats: ClassVar[bool] = False

    def __init__(self, cluster: Reachable, ledger: Ledger) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._clients: dict[str, imaplib.IMAP4] = {}

    def send(self, node: int, token: str, target: Target) -> None:
        try:
            client = self._clients.get(target.name) or self._connected(node, target)
            self._clients[target.name] = client
            content = target.letter(token, target.sender)
            self._ledger.offer(token, content)
            status, words = _append(client, content)
        except imaplib.IMAP4.abort as cut:
            raise PutOff(cut) from None
        except imaplib.IMAP4.error as refused:
            status, words = "NO", list(refused.args)
        if status != "OK":
            # RFC 5530 3: what is no fault of the client's.
            passing = any(code in str(words) for code in ("UNAVAILABLE", "SERVERBUG", "INUSE", "LIMIT"))
            raise PutOff(words) if passing else RefusedForGood(words)

    def _connected(self, node: int, target: Target) -> imaplib.IMAP4:
        client = imaplib.IMAP4(*self._cluster.address("imap", node), timeout=self._cluster.reply_seconds)
        try:
            client.login(target.name, target.password)
        except BaseException:
            client.shutdown()
            raise
        return client

    def close(self) -> None:
        for client in self._clients.values():
            with suppress(OSError):
                client.shutdown()
        self._clients.clear()


def _append(client: imaplib.IMAP4, content: bytes) -> tuple[str, list[Any]]:
    """APPEND as imaplib does it, but octet for octet: `IMAP4.append` would make line ends of bare CR."""
    client.literal = content
    return client._simple_command("APPEND", "INBOX")  # type: ignore[attr-defined,no-any-return]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an account's messages go by JMAP: ids, and paths that are the same on every node."""

    account: str
    inbox: str
    upload: str
    api: str


class ImportCourier:
    """By JMAP: upload and Email/import, which would import a repeat too."""

    repeats: ClassVar[bool] = False

    def __init__(self, cluster: Reachable, ledger: Ledger) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._client: http.client.HTTPConnection | None = None
        self._places: dict[str, _Place] = {}

    def send(self, node: int, token: str, target: Target) -> None:
        if self._client is None:
            self._client = http.client.HTTPConnection(
                *self._cluster.address("jmap", node), timeout=self._cluster.reply_seconds
            )
        try:
            self._import(token, target)
        except http.client.HTTPException as broken:
            raise PutOff(broken) from None

    def _import(self, token: str, target: Target) -> None:
        place = self._places.get(target.name) or self._place(target)
        self._places[target.name] = place
        content = target.letter(token, target.sender)
        blob = self._ask(target, "POST", place.upload, content, "message/rfc822")["blobId"]
        self._ledger.offer(token, content)
        emails = {token: {"blobId": blob, "mailboxIds": {place.inbox: True}}}
        answer = self._call(target, place.api, "Email/import", {"accountId": place.account, "emails": emails})
        if token not in (answer.get("created") or {}):
            passing = any(kind in str(answer) for kind in PASSING)
            raise PutOff(answer) if passing else RefusedForGood(answer)

    def _place(self, target: Target) -> _Place:
        session = self._ask(target, "GET", "/.well-known/jmap", None, "")
        account = session["primaryAccounts"]["urn:ietf:params:jmap:mail"]
        api = urlsplit(session["apiUrl"]).path
        boxes = self._call(target, api, "Mailbox/get", {"accountId": account, "ids": None})["list"]
        inbox = next(box["id"] for box in boxes if box["role"] == "inbox")
        return _Place(account, inbox, urlsplit(session["uploadUrl"].replace("{accountId}", account)).path, api)

    def _call(self, target: Target, api: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        using = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail"]
        body = json.dumps({"using": using, "methodCalls": [[name, arguments, "c"]]}).encode()
        answered, answer, _ = self._ask(target, "POST", api, body, "application/json")["methodResponses"][0]
        if answered != name:
            raise PutOff(answer) if answer.get("type") in PASSING else RefusedForGood(answer)
        return dict(answer)

    def _ask(self, target: Target, verb: str, path: str, body: bytes | None, kind: str) -> dict[str, Any]:
        assert self._client is not None
        login = base64.b64encode(f"{target.name}:{target.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", **({"Content-Type": kind} if kind else {})}
        self._client.request(verb, path, body, headers)
        answer = self._client.getresponse()
        content = answer.read()
        if answer.status >= 500 or answer.status == 429:
            raise PutOff(answer.status, content[:200])
        if answer.status // 100 != 2:
            raise RefusedForGood(answer.status, content[:200])
        return dict(json.loads(content))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
