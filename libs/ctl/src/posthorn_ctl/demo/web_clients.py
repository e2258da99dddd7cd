"""The HTTP clients of the demonstration: JMAP (RFC 8620, RFC 8621) and DAV (RFC 4791, RFC 6352)."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from posthorn_ctl.demo.target import DemoFailed, Login

TIMEOUT = 30.0
USING = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail", "urn:ietf:params:jmap:submission"]


def request(
    method: str, url: str, login: Login, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """One HTTP request with Basic authentication; returns status and body. Raises DemoFailed on 4xx and 5xx."""
    if not url.startswith(("http://", "https://")):
        raise DemoFailed(f"{url!r} is not an absolute http URL")
    token = base64.b64encode(f"{login.name}:{login.password}".encode()).decode()
    sent = urllib.request.Request(url, data=body, method=method, headers={"Authorization": f"Basic {token}"})  # noqa: S310
    for name, value in (headers or {}).items():
        sent.add_header(name, value)
    try:
        with urllib.request.urlopen(sent, timeout=TIMEOUT) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        raise DemoFailed(f"{method} {url} answered {error.code}: {error.read(500)!r}") from error
    except OSError as error:
        raise DemoFailed(f"{method} {url} failed: {error}") from error


class JmapClient:
    """A JMAP session of one account."""

    def __init__(self, base: str, login: Login) -> None:
        self._login = login
        _, body = request("GET", urllib.parse.urljoin(base, "/.well-known/jmap"), login)
        session = json.loads(body)
        self._api: str = session["apiUrl"]
        self._download: str = session["downloadUrl"]
        self.account: str = session["primaryAccounts"]["urn:ietf:params:jmap:mail"]

    def call(self, *calls: tuple[str, dict[str, Any], str]) -> dict[str, dict[str, Any]]:
        """Run method calls in one request; returns the arguments of each answer by call id. Raises DemoFailed."""
        methods = [[name, {"accountId": self.account, **arguments}, call_id] for name, arguments, call_id in calls]
        payload = json.dumps({"using": USING, "methodCalls": methods}).encode()
        _, body = request("POST", self._api, self._login, payload, {"Content-Type": "application/json"})
        answers: dict[str, dict[str, Any]] = {}
        for name, arguments, call_id in json.loads(body)["methodResponses"]:
            failed = name == "error" or arguments.get("notCreated") or arguments.get("notUpdated")
            if failed:
                raise DemoFailed(f"JMAP answered {name}: {json.dumps(arguments)[:500]}")
            answers.setdefault(call_id, arguments)
        return answers

    def download(self, blob: str, name: str) -> bytes:
        """The bytes of a blob."""
        url = self._download.replace("{accountId}", self.account).replace("{blobId}", blob)
        url = url.replace("{name}", urllib.parse.quote(name)).replace("{type}", "application/octet-stream")
        return request("GET", url, self._login)[1]


EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Posthorn//Demonstration//EN
BEGIN:VEVENT
UID:{uid}
DTSTAMP:20260101T000000Z
DTSTART:20260601T090000Z
DTEND:20260601T100000Z
SUMMARY:Mail coach leaves
RRULE:FREQ=WEEKLY;COUNT=4
END:VEVENT
END:VCALENDAR
"""

CARD = """BEGIN:VCARD
VERSION:3.0
UID:{uid}
FN:Karl Postillon
N:Postillon;Karl;;;
EMAIL:karl@example.net
END:VCARD
"""

CALENDAR_QUERY = """<?xml version="1.0" encoding="utf-8"?>
<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
<D:prop><D:getetag/><C:calendar-data/></D:prop>
<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">
<C:time-range start="20260608T000000Z" end="20260609T000000Z"/>
</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"""


class DavClient:
    """Calendar and address book of one account."""

    def __init__(self, base: str, login: Login) -> None:
        self._base = base
        self._login = login

    def collection(self, kind: str) -> str:
        """The absolute URL of the account's default collection: kind "cal" or "card"."""
        return urllib.parse.urljoin(self._base, f"/dav/{kind}/{urllib.parse.quote(self._login.name)}/default/")

    def put(self, url: str, body: str, content_type: str) -> None:
        """Store a resource with CRLF line ends."""
        data = body.replace("\n", "\r\n").encode()
        status, _ = request("PUT", url, self._login, data, {"Content-Type": content_type})
        if status not in (201, 204):
            raise DemoFailed(f"PUT {url} answered {status}, not 201 or 204")

    def get(self, url: str) -> str:
        """Read a resource."""
        return request("GET", url, self._login)[1].decode()

    def query_calendar(self) -> str:
        """Run a calendar-query for the second week of the demonstration's event."""
        headers = {"Content-Type": "application/xml; charset=utf-8", "Depth": "1"}
        return request("REPORT", self.collection("cal"), self._login, CALENDAR_QUERY.encode(), headers)[1].decode()
