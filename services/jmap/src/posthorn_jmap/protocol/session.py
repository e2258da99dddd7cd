"""The session object (RFC 8620 2): what the server can do, the accounts of the user, and where to send what."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posthorn_jmap.protocol.ids import to_wire

CORE = "urn:ietf:params:jmap:core"
MAIL = "urn:ietf:params:jmap:mail"
SUBMISSION = "urn:ietf:params:jmap:submission"
VAPID = "urn:ietf:params:jmap:webpush-vapid"
CAPABILITIES = frozenset({CORE, MAIL, SUBMISSION})
"""Always there; VAPID is where the cluster has a key."""
VERSION = 2
"""Goes up when what sessions show changes otherwise than by settings."""
COLLATIONS = ("i;ascii-casemap", "i;unicode-casemap")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of RFC 8620 2 that the session shows and the service keeps. Sizes in bytes."""

    max_size_upload: int
    max_concurrent_upload: int
    max_size_request: int
    max_concurrent_requests: int
    max_calls_in_request: int
    max_objects_in_get: int
    max_objects_in_set: int
    max_size_attachments: int


def core_capability(limits: Limits) -> dict[str, Any]:
    """The value of the core capability."""
    return {
        "maxSizeUpload": limits.max_size_upload,
        "maxConcurrentUpload": limits.max_concurrent_upload,
        "maxSizeRequest": limits.max_size_request,
        "maxConcurrentRequests": limits.max_concurrent_requests,
        "maxCallsInRequest": limits.max_calls_in_request,
        "maxObjectsInGet": limits.max_objects_in_get,
        "maxObjectsInSet": limits.max_objects_in_set,
        "collationAlgorithms": list(COLLATIONS),
    }


def account_capabilities(limits: Limits, sort_options: tuple[str, ...]) -> dict[str, Any]:
    """What an account can do (RFC 8621 1.3)."""
    return {
        MAIL: {
            "maxMailboxesPerEmail": None,
            "maxMailboxDepth": 16,
            "maxSizeMailboxName": 255,
            "maxSizeAttachmentsPerEmail": limits.max_size_attachments,
            "emailQuerySortOptions": list(sort_options),
            "mayCreateTopLevelMailbox": True,
        },
        SUBMISSION: {"maxDelayedSend": 0, "submissionExtensions": {}},
    }


def session(
    base: str, account: int, address: str, limits: Limits, sort_options: tuple[str, ...], vapid: str = ""
) -> Mapping[str, Any]:
    """The session object; every URL is absolute, below `base` (without a slash at its end).

    `vapid` is the public key that pushes are signed with (RFC 9749 3), in base64url; empty without one.
    """
    wire = to_wire("a", account)
    found: dict[str, Any] = {
        "capabilities": {
            CORE: core_capability(limits),
            MAIL: {},
            SUBMISSION: {},
            **({VAPID: {"applicationServerKey": vapid}} if vapid else {}),
        },
        "accounts": {
            wire: {
                "name": address,
                "isPersonal": True,
                "isReadOnly": False,
                "accountCapabilities": account_capabilities(limits, sort_options),
            }
        },
        "primaryAccounts": {MAIL: wire, SUBMISSION: wire},
        "username": address,
        "apiUrl": f"{base}/jmap/api/",
        "downloadUrl": f"{base}/jmap/download/{{accountId}}/{{blobId}}/{{name}}?accept={{type}}",
        "uploadUrl": f"{base}/jmap/upload/{{accountId}}/",
        "eventSourceUrl": f"{base}/jmap/eventsource/?types={{types}}&closeafter={{closeafter}}&ping={{ping}}",
    }
    return {**found, "state": session_state(account, address, limits, vapid)}


def session_state(account: int, address: str, limits: Limits, vapid: str = "") -> str:
    """The session's state: the same on every node and listener, whatever URL they are reached by."""
    shown = json.dumps([VERSION, account, address, account_capabilities(limits, ()), core_capability(limits), vapid])
    return hashlib.sha256(shown.encode()).hexdigest()[:16]
