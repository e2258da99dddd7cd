"""Upload and download of blobs (RFC 8620 6.1, 6.2), parts of messages included."""

import base64
import binascii
import quopri
import re
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from posthorn_jmap.bodies import read_body
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.errors import RequestProblem
from posthorn_jmap.settings import JmapSettings
from posthorn_model.errors import BlobNotFound
from posthorn_model.ids import AccountId
from posthorn_storage import Storage

_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(?:;[\x20-\x7e]{0,500})?")
UNKNOWN = "application/octet-stream"


async def upload(storage: Storage, settings: JmapSettings, account: AccountId, http: Request) -> dict[str, Any]:
    """Store the body; returns the answer's object."""
    data = await read_body(http, settings.max_size_upload, "maxSizeUpload")
    given = http.headers.get("content-type", UNKNOWN)
    content_type = given if _TYPE.fullmatch(given) else UNKNOWN
    key = await storage.blobs.upload(account, data, content_type)
    return {
        "accountId": ids.to_wire("a", account),
        "blobId": ids.BlobRef(key).wire(),
        "type": content_type,
        "size": len(data),
    }


async def read(storage: Storage, account: AccountId, wire: object) -> bytes:
    """The bytes that a blob id names, decoded if it is a part. Raises BlobNotFound; so also for others' blobs."""
    found = ids.blob_from_wire(wire)
    if found is None or not await storage.blobs.may_read(account, found.key):
        raise BlobNotFound
    if found.length is None:
        return await storage.blobs.read(account, found.key)
    return decode(await storage.blobs.read_range(account, found.key, found.start, found.length), found.encoding)


def decode(data: bytes, encoding: str) -> bytes:
    """Undo a transfer encoding; broken base64 gives what can be read of it."""
    if encoding == "quoted-printable":
        return quopri.decodestring(data)
    if encoding != "base64":
        return data
    clean = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
    try:
        return base64.b64decode(clean + b"=" * (-len(clean) % 4))
    except binascii.Error:
        return base64.b64decode(clean[: len(clean) // 4 * 4])


async def download(storage: Storage, account: AccountId, http: Request, blob: str, name: str) -> Response:
    """The blob as an attachment under the name and type that the URL gives."""
    content_type = http.query_params.get("accept", UNKNOWN)
    if not _TYPE.fullmatch(content_type):
        raise RequestProblem("about:blank", "that is no media type", 400)
    data = await read(storage, account, blob)
    return Response(
        data,
        media_type=content_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "Cache-Control": "private, immutable, max-age=31536000",
            # The type is the client's word: a browser must not take it for a page of this origin.
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
        },
    )
