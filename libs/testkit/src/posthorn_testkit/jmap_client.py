"""As little of a JMAP client as tests of whole clusters need."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

from posthorn_testkit.cluster import ClusterUnderTest

USING = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail"]


class JmapClient:
    """One account's mail, through one node. Raises urllib's errors; AssertionError where a method answers an error."""

    def __init__(self, cluster: ClusterUnderTest, account: tuple[str, str], node: int = 2) -> None:
        self._token = "Basic " + base64.b64encode(":".join(account).encode()).decode()
        self._session = json.loads(self._http(cluster.url("jmap", node) + "/.well-known/jmap"))
        self.account = self._session["primaryAccounts"]["urn:ietf:params:jmap:mail"]

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One method call; returns its response's arguments."""
        calls = [[name, {"accountId": self.account, **arguments}, "c"]]
        body = json.dumps({"using": USING, "methodCalls": calls}).encode()
        found_name, found, _ = json.loads(self._http(self._session["apiUrl"], body))["methodResponses"][0]
        assert found_name == name, found
        return dict(found)

    def contents(self) -> Iterator[bytes]:
        """The bytes of every email of the account."""
        ids: list[str] = []
        while True:
            page = self.call("Email/query", {"position": len(ids), "limit": 200, "sort": [{"property": "receivedAt"}]})
            ids += page["ids"]
            if len(page["ids"]) < 200:
                break
        for start in range(0, len(ids), 100):
            found = self.call("Email/get", {"ids": ids[start : start + 100], "properties": ["blobId"]})
            assert found["notFound"] == []
            for email in found["list"]:
                yield self.download(email["blobId"])

    def download(self, blob: str) -> bytes:
        url = self._session["downloadUrl"].replace("{accountId}", self.account).replace("{blobId}", blob)
        return self._http(url.replace("{name}", "m.eml").replace("{type}", "message/rfc822"))

    def upload(self, data: bytes) -> str:
        """Returns the blob's id."""
        url = self._session["uploadUrl"].replace("{accountId}", self.account)
        return str(json.loads(self._http(url, data, "message/rfc822"))["blobId"])

    def _http(self, url: str, data: bytes | None = None, kind: str = "application/json") -> bytes:
        request = urllib.request.Request(url, data, {"Authorization": self._token, "Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
            return content
