"""A client that keeps events in a calendar: one PUT for each, repeated until it is acknowledged by some node."""

import base64
import http.client
import re
import time

from tests.faults.couriers import PutOff, RefusedForGood, Target

from posthorn_testkit.cluster import Reachable

TRIES = 1200
PAUSE = 0.1
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Ledger//Test//EN\r\nBEGIN:VEVENT\r\nUID:{token}\r\n"
    "DTSTAMP:20261124T120000Z\r\nDTSTART:20261201T090000Z\r\nSUMMARY:{token}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


class EventKeeper:
    """The default calendar of one account."""

    def __init__(self, cluster: Reachable, owner: Target) -> None:
        self._cluster = cluster
        login = base64.b64encode(f"{owner.name}:{owner.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}
        self._home = f"/dav/cal/{owner.name}/"
        self._turn = 0
        self.breaks = 0
        self._calendar = next(href for href in self._listed(1, self._home) if href != self._home)

    def put(self, token: str) -> None:
        """Store an event; returns when a node has acknowledged it."""
        for _ in range(TRIES):
            try:
                body = EVENT.format(token=token).encode()
                self._ask(1 + self._turn % 2, "PUT", f"{self._calendar}{token}.ics", body, kind="text/calendar")
            except (OSError, http.client.HTTPException, PutOff) as error:
                print(f"{token}: {type(error).__name__}: {error}"[:200])
                self.breaks += 1
                self._turn += 1
                time.sleep(PAUSE)
            else:
                return
        raise AssertionError(f"{token} was not acknowledged in {TRIES} tries")

    def tokens(self, node: int) -> list[str]:
        """The tokens of all events as a node shows them, each read whole; repeats too."""
        found = []
        for href in self._listed(node, self._calendar):
            if href != self._calendar:
                content = self._ask(node, "GET", href).decode()
                found += re.findall(r"(?m)^UID:(.*)\r$", content) if "END:VCALENDAR" in content else [href]
        return sorted(found)

    def _listed(self, node: int, path: str) -> list[str]:
        answer = self._ask(node, "PROPFIND", path, depth="1").decode()
        # The first href of each response is its own; those of properties follow.
        return re.findall(r"<D:response><D:href>([^<]*)</D:href>", answer)

    def _ask(self, node: int, verb: str, path: str, body: bytes = b"", *, kind: str = "", depth: str = "") -> bytes:
        client = http.client.HTTPConnection(*self._cluster.address("dav", node), timeout=self._cluster.reply_seconds)
        more = ({"Content-Type": kind} if kind else {}) | ({"Depth": depth} if depth else {})
        try:
            client.request(verb, path, body, self._headers | more)
            answer = client.getresponse()
            content = answer.read()
        finally:
            client.close()
        if answer.status >= 500 or answer.status == 429:
            raise PutOff(answer.status, content[:200])
        if answer.status // 100 != 2:
            raise RefusedForGood(answer.status, content[:200])
        return content
