"""Blobs in an S3 bucket, by the minio client in a bounded thread pool.

One attempt is one request (never a multipart upload: a PUT is whole or absent). Attempts that may succeed later are
repeated with jitter inside one time limit; everything else becomes Unavailable, with the reason in the log only.
The server checks what it is sent: its SHA-256 is part of the signature, or over TLS there is a Content-MD5.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from posthorn_model.errors import Archived, BlobNotFound, PosthornError, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_model.ports import Listing, StoredObject
from posthorn_storage.blobs.object_names import key_of, object_name
from posthorn_storage.blobs.threads import Threads, patiently
from posthorn_storage.settings import S3Settings

_MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound"})
_FINAL: Final = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "NoSuchBucket",
        "InvalidBucketName",
        "EntityTooLarge",
    }
)
_PAST_END: Final = "InvalidRange"
_ARCHIVED: Final = "InvalidObjectState"
_FAILURES: Final = (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError)
T = TypeVar("T")


class S3Store:
    """The port posthorn_model.ports.ObjectStore over a bucket."""

    def __init__(self, settings: S3Settings) -> None:
        host, secure = _host(settings)
        self._settings = settings
        self._http = urllib3.PoolManager(
            num_pools=4,
            maxsize=settings.connections,
            block=False,
            retries=False,
            timeout=urllib3.Timeout(connect=min(5.0, settings.timeout), read=settings.timeout),
        )
        self._client = Minio(
            endpoint=host,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            secure=secure,
            region=settings.region,
            http_client=self._http,
        )
        self._threads = Threads("blob-s3", settings.connections)
        self._headers: dict[str, Any] = (
            {"x-amz-storage-class": settings.storage_class} if settings.storage_class else {}
        )

    @classmethod
    async def open(cls, settings: S3Settings) -> "S3Store":
        """Check that the bucket is there (made when `create_bucket`). Raises Unavailable."""
        try:
            store = cls(settings)
        except ValueError as error:  # minio's judgement of endpoint, keys or region
            raise Unavailable("the S3 settings are not valid", cause=repr(error)) from error
        try:
            await store.probe()
        except PosthornError:
            await store.close()
            raise
        return store

    async def put(self, key: BlobKey, data: bytes | memoryview) -> None:
        """See the port."""

        headers = {"Content-Type": "application/octet-stream", **self._headers}

        def request() -> None:
            # What is public here reads all of a stream into memory, and then again; this takes the octets as they are.
            # They may lie in a file that is mapped (blobs.content.encode).
            self._client._put_object(self._settings.bucket, self._name(key), cast(bytes, data), dict(headers))

        await self._run("put", request)

    async def get(self, key: BlobKey) -> bytes:
        """See the port."""
        return await self._run("get", lambda: self._read(key, 0, 0))

    async def get_range(self, key: BlobKey, start: int, length: int) -> bytes:
        """See the port."""
        if length <= 0:
            return b""
        return await self._run("get", lambda: self._read(key, max(start, 0), length))

    async def list(self, after: str, limit: int) -> Listing:
        """See the port: in the order of the names."""
        return await self._run("list", lambda: self._page(after, limit))

    async def delete(self, key: BlobKey) -> None:
        """See the port."""
        try:
            await self._run("delete", lambda: self._client.remove_object(self._settings.bucket, self._name(key)))
        except BlobNotFound:
            return

    async def probe(self) -> None:
        """See the port: asks for the bucket."""
        bucket = self._settings.bucket

        def request() -> bool:
            found = self._client.bucket_exists(bucket)
            if not found and self._settings.create_bucket:
                self._client.make_bucket(bucket, self._settings.region)
                return True
            return found

        if not await self._run("probe", request):
            raise Unavailable("the bucket does not exist", bucket=bucket)

    async def close(self) -> None:
        """See the port."""
        self._threads.close()
        self._http.clear()

    def _name(self, key: BlobKey) -> str:
        return self._settings.prefix + object_name(key)

    def _page(self, after: str, limit: int) -> Listing:
        prefix = self._settings.prefix
        names = self._client.list_objects(
            self._settings.bucket, prefix=prefix, recursive=True, start_after=after or None
        )
        page = list(islice(names, limit))
        keys = [key_of(item.object_name.removeprefix(prefix)) for item in page]
        return Listing(
            objects=[
                StoredObject(key, item.last_modified.timestamp())
                for key, item in zip(keys, page, strict=True)
                if key is not None
            ],
            foreign=keys.count(None),
            after=page[-1].object_name if len(page) == limit else "",
        )

    def _read(self, key: BlobKey, start: int, length: int) -> bytes:
        response = self._client.get_object(self._settings.bucket, self._name(key), offset=start, length=length)
        try:
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()

    async def _run(self, step: str, request: Callable[[], T]) -> T:
        settings = self._settings

        def work() -> T:
            return patiently(
                step,
                request,
                failures=_FAILURES,
                refusal=_refusal,
                attempts=settings.attempts,
                seconds=settings.timeout,
            )

        # The attempts have limits of their own; this one is for a server that trickles.
        return await self._threads.run(step, work, timeout=settings.timeout * 2)


def _refusal(error: Exception, step: str) -> PosthornError | None:
    """What a failure means when trying again at once is of no use; None when it may help."""
    if isinstance(error, S3Error):
        if error.code in _MISSING:
            return BlobNotFound()
        if error.code == _ARCHIVED:
            return Archived(step=f"blob {step}")
        if error.code in _FINAL or error.code == _PAST_END:
            return Unavailable(step=f"blob {step}", cause=repr(error.code))
        return None
    if isinstance(error, InvalidResponseError | ServerError | urllib3.exceptions.HTTPError | OSError):
        return None
    return Unavailable(step=f"blob {step}", cause=repr(error))


def _host(settings: S3Settings) -> tuple[str, bool]:
    if "://" not in settings.endpoint:
        return settings.endpoint, settings.secure
    parts = urlsplit(settings.endpoint)
    return parts.netloc, parts.scheme == "https"
