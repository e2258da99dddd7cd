"""The story of the demonstration, step by step; every step is a real client against the running cluster."""

import os
import signal
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from posthorn_ctl.demo.mail_clients import ATTACHMENT, Idler, compose, submit
from posthorn_ctl.demo.sink import Sink
from posthorn_ctl.demo.target import DemoFailed, Target
from posthorn_ctl.demo.web_clients import CARD, EVENT, DavClient, JmapClient

RESTART_WAIT = 60.0
DELIVERY_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step: what was shown, and how long it took in milliseconds."""

    text: str
    milliseconds: float


class Story:
    """Runs the steps against a target; `tell` hears of each finished step. Raises DemoFailed at the first failure."""

    def __init__(self, target: Target, tell: Callable[[Step], None]) -> None:
        self._target = target
        self._tell = tell
        self._ann, self._bob = target.accounts[:2]
        self._mark = f"{time.time_ns():x}"
        nodes = target.nodes("submission")
        if not nodes:
            raise DemoFailed("no node serves submission: is smtp-in running?")
        self._first = nodes[0]
        self._imap = target.endpoint("imap", without=self._first)

    def run(self) -> None:
        """All steps in their order."""
        self._send_and_see()
        jmap, message = self._read_and_file()
        self._answer_outside(jmap, message)
        self._store_by_dav()
        self._lose_a_node()

    def _timed(self, text: str, begun: float) -> None:
        self._tell(Step(text, (time.perf_counter() - begun) * 1000))

    def _send_and_see(self) -> None:
        subject = f"Post from node {self._first} {self._mark}"
        submission = self._target.endpoint("submission", node=self._first)
        with Idler(self._imap, self._bob) as idler, idler.idling():
            begun = time.perf_counter()
            submit(submission, self._ann, compose(self._ann.name, self._bob.name, subject), self._bob.name)
            self._timed(f"submission to node {self._first}: a message with two attachments, answered 250", begun)
            begun = time.perf_counter()
            idler.wait_for_more()
            self._timed(f"the open IDLE connection on node {self._imap.node} shows it, after the 250", begun)

    def _read_and_file(self) -> tuple[JmapClient, dict[str, Any]]:
        endpoint = self._target.endpoint("jmap", without=self._imap.node)
        begun = time.perf_counter()
        jmap = JmapClient(endpoint.url, self._bob)
        found = jmap.call(
            ("Email/query", {"filter": {"subject": self._mark}}, "q"),
            (
                "Email/get",
                {
                    "#ids": {"resultOf": "q", "name": "Email/query", "path": "/ids"},
                    "properties": ["id", "subject", "messageId", "mailboxIds", "attachments", "preview"],
                },
                "g",
            ),
        )["g"]["list"]
        if len(found) != 1:
            raise DemoFailed(f"JMAP found {len(found)} messages with the subject that was sent once")
        message: dict[str, Any] = found[0]
        part = next((a for a in message["attachments"] if a["name"] == "posthorn.bin"), None)
        if part is None or jmap.download(part["blobId"], "posthorn.bin") != ATTACHMENT:
            raise DemoFailed("the attachment read by JMAP is not the one that was sent")
        self._timed(f"JMAP on node {endpoint.node}: found, read, attachment the same byte for byte", begun)
        begun = time.perf_counter()
        jmap.call(("Mailbox/set", {"create": {"m": {"name": f"Filed {self._mark}"}}}, "m"))
        boxes = jmap.call(("Mailbox/get", {"ids": None, "properties": ["id", "name"]}, "b"))["b"]["list"]
        box = next(b["id"] for b in boxes if b["name"] == f"Filed {self._mark}")
        jmap.call(("Email/set", {"update": {message["id"]: {"mailboxIds": {box: True}}}}, "e"))
        with Idler(self._imap, self._bob) as reader:
            if not any(self._mark in subject for subject in reader.subjects(f"Filed {self._mark}")):
                raise DemoFailed("IMAP does not show the message where JMAP filed it")
        self._timed(f"JMAP files it, IMAP on node {self._imap.node} shows it there", begun)
        return jmap, message

    def _answer_outside(self, jmap: JmapClient, message: dict[str, Any]) -> None:
        if self._target.sink is None:
            raise DemoFailed("cluster.json names no sink: start the cluster with `posthorn up`")
        host, port, domain = self._target.sink
        with Sink(host, port, domain) as sink:
            begun = time.perf_counter()
            outside = f"karl@{domain}"
            drafts = jmap.call(("Mailbox/get", {"ids": None, "properties": ["id", "role"]}, "b"))["b"]["list"]
            box = next(b["id"] for b in drafts if b["role"] == "sent")
            identity = jmap.call(("Identity/get", {"ids": None}, "i"))["i"]["list"][0]["id"]
            draft = {
                "mailboxIds": {box: True},
                "from": [{"email": self._bob.name, "name": "Bob Example"}],
                "to": [{"email": outside}],
                "subject": f"Re: {message['subject']}",
                "inReplyTo": message["messageId"],
                "bodyValues": {"t": {"value": f"Received with thanks. {self._mark}\n"}},
                "textBody": [{"partId": "t", "type": "text/plain"}],
            }
            submission = {
                "emailId": "#d",
                "identityId": identity,
                "envelope": {"mailFrom": {"email": self._bob.name}, "rcptTo": [{"email": outside}]},
            }
            jmap.call(
                ("Email/set", {"create": {"d": draft}}, "e"),
                ("EmailSubmission/set", {"create": {"s": submission}}, "s"),
            )
            sink.wait_for(self._mark.encode(), DELIVERY_WAIT)
            self._timed(f"JMAP answers to {outside}; smtp-out delivers it to the sink", begun)

    def _store_by_dav(self) -> None:
        endpoint = self._target.endpoint("dav")
        dav = DavClient(endpoint.url, self._bob)
        begun = time.perf_counter()
        event = urllib.parse.urljoin(dav.collection("cal"), f"{self._mark}.ics")
        dav.put(event, EVENT.format(uid=self._mark), "text/calendar; charset=utf-8")
        if self._mark not in dav.query_calendar():
            raise DemoFailed("a calendar-query for the second week does not find the weekly event")
        self._timed(f"CalDAV on node {endpoint.node}: an event stored, found by its second recurrence", begun)
        begun = time.perf_counter()
        card = urllib.parse.urljoin(dav.collection("card"), f"{self._mark}.vcf")
        dav.put(card, CARD.format(uid=self._mark), "text/vcard; charset=utf-8")
        if "Postillon" not in dav.get(card):
            raise DemoFailed("the card read back is not the one that was stored")
        self._timed(f"CardDAV on node {endpoint.node}: a contact stored and read back", begun)

    def _lose_a_node(self) -> None:
        victims = [(service, pid) for node, service, pid in self._target.processes if node == self._first]
        others = [node for node in self._target.nodes("submission") if node != self._first]
        if not victims:
            self._timed("no processes of ours to kill: who runs the containers tries that", time.perf_counter())
            return
        begun = time.perf_counter()
        for _, pid in victims:
            os.kill(pid, signal.SIGKILL)
        self._timed(f"node {self._first} killed with SIGKILL: {len(victims)} processes", begun)
        begun = time.perf_counter()
        node = others[0] if others else self._first
        self._send_until_accepted(node)
        shown = f"node {node} goes on" if others else f"node {node} is back"
        self._timed(f"{shown}: a message sent there is in the mailbox", begun)

    def _send_until_accepted(self, node: int) -> None:
        """Send on `node` and read there, or where IMAP still is; what was killed may need its time to come back."""
        subject = f"After the loss {self._mark}"
        message = compose(self._ann.name, self._bob.name, subject)
        submission = self._target.endpoint("submission", node=node)
        reading = node if node in self._target.nodes("imap") else None
        imap = self._target.endpoint("imap", node=reading, without=self._first)
        for _ in self._attempts():
            try:
                submit(submission, self._ann, message, self._bob.name)
                break
            except DemoFailed:
                if node != self._first:
                    raise
        for _ in self._attempts():
            try:
                with Idler(imap, self._bob) as reader:
                    if any(subject in line for line in reader.subjects("INBOX")):
                        return
            except DemoFailed:
                if self._first not in (node, imap.node):
                    raise

    def _attempts(self) -> Iterator[None]:
        deadline = time.monotonic() + RESTART_WAIT
        while time.monotonic() < deadline:
            yield
            time.sleep(0.2)
        raise DemoFailed(f"no success within {RESTART_WAIT:.0f} s after the node was killed")
