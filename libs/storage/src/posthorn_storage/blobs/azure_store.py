"""Blobs in a container of Azure Blob Storage, by Microsoft's client in a bounded thread pool.

Attempts are repeated here and not by the client, so that all stores wait in one way. What is sent carries a Content-MD5
that the server checks; a blob is whole or absent, for its blocks count only once their list is committed.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any, Final, TypeVar

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobServiceClient, StandardBlobTier

from posthorn_model.errors import Archived, BlobNotFound, PosthornError, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_model.ports import Listing, StoredObject
from posthorn_storage.blobs.object_names import key_of, object_name
from posthorn_storage.blobs.threads import Threads, patiently
from posthorn_storage.settings import AzureSettings

_ONE_REQUEST: Final = 64 * 1024 * 1024
"""Larger blobs are sent and read in blocks."""
_PAST_END: Final = 416
_MAY_PASS: Final = frozenset({408, 429, 500, 502, 503, 504})
_FAILURES: Final = (AzureError, OSError, ValueError)
_ARCHIVED: Final = frozenset({"BlobArchived", "BlobBeingRehydrated"})
T = TypeVar("T")


class AzureStore:
    """The port posthorn_model.ports.ObjectStore over a container."""

    def __init__(self, settings: AzureSettings) -> None:
        self._settings = settings
        self._service = BlobServiceClient(
            account_url=settings.endpoint or f"https://{settings.account}.blob.core.windows.net",
            credential={"account_name": settings.account, "account_key": settings.access_key},
            retry_total=0,
            connection_timeout=min(5.0, settings.timeout),
            read_timeout=settings.timeout,
            max_single_put_size=_ONE_REQUEST,
            max_single_get_size=_ONE_REQUEST,
        )
        self._container = self._service.get_container_client(settings.container)
        self._threads = Threads("blob-azure", settings.connections)
        tier = StandardBlobTier(settings.storage_class) if settings.storage_class else None
        self._tier: dict[str, Any] = {"standard_blob_tier": tier} if tier else {}

    @classmethod
    async def open(cls, settings: AzureSettings) -> "AzureStore":
        """Check that the container is there (made when `create_container`). Raises Unavailable."""
        try:
            store = cls(settings)
        except ValueError as error:  # the client's judgement of endpoint or key
            raise Unavailable("the Azure settings are not valid", cause=repr(error)) from error
        try:
            await store.probe()
        except PosthornError:
            await store.close()
            raise
        return store

    async def put(self, key: BlobKey, data: bytes | memoryview) -> None:
        """See the port."""
        name, content = self._name(key), bytes(data)

        def request() -> None:
            self._container.upload_blob(
                name, content, length=len(content), overwrite=True, validate_content=True, **self._tier
            )

        await self._run("put", request)

    async def get(self, key: BlobKey) -> bytes:
        """See the port."""
        return await self._run("get", lambda: self._read(key, None, None))

    async def get_range(self, key: BlobKey, start: int, length: int) -> bytes:
        """See the port."""
        if length <= 0:
            return b""
        return await self._run("get", lambda: self._read(key, max(start, 0), length))

    async def list(self, after: str, limit: int) -> Listing:
        """See the port: in the order of the names, by the service's own marks."""
        return await self._run("list", lambda: self._page(after, limit))

    async def delete(self, key: BlobKey) -> None:
        """See the port."""
        try:
            await self._run("delete", lambda: self._container.delete_blob(self._name(key)))
        except BlobNotFound:
            return

    async def probe(self) -> None:
        """See the port: asks for the container."""

        def request() -> bool:
            found = self._container.exists()
            if not found and self._settings.create_container:
                try:
                    self._container.create_container()
                except ResourceExistsError:
                    return True
                return True
            return found

        if not await self._run("probe", request):
            raise Unavailable("the container does not exist", container=self._settings.container)

    async def close(self) -> None:
        """See the port."""
        self._threads.close()
        self._service.close()

    def _name(self, key: BlobKey) -> str:
        return self._settings.prefix + object_name(key)

    def _read(self, key: BlobKey, start: int | None, length: int | None) -> bytes:
        return self._container.download_blob(self._name(key), start, length, max_concurrency=1).readall()

    def _page(self, after: str, limit: int) -> Listing:
        prefix = self._settings.prefix
        pages: Any = self._container.list_blobs(name_starts_with=prefix or None, results_per_page=limit).by_page(
            after or None
        )
        found = [item for page in islice(pages, 1) for item in page]
        keys = [key_of(item.name.removeprefix(prefix)) for item in found]
        return Listing(
            objects=[
                StoredObject(key, item.last_modified.timestamp())
                for key, item in zip(keys, found, strict=True)
                if key is not None
            ],
            foreign=keys.count(None),
            after=pages.continuation_token or "",
        )

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

        return await self._threads.run(step, work, timeout=settings.timeout * 2)


def _refusal(error: Exception, step: str) -> PosthornError | None:
    """What a failure means when trying again at once is of no use; None when it may help."""
    if isinstance(error, ResourceNotFoundError) and error.error_code == "BlobNotFound":  # type: ignore[attr-defined]
        return BlobNotFound()
    if isinstance(error, HttpResponseError):
        code = str(getattr(error, "error_code", ""))
        if code in _ARCHIVED:
            return Archived(step=f"blob {step}")
        if isinstance(error, ClientAuthenticationError | ResourceNotFoundError):
            return Unavailable(step=f"blob {step}", cause=code)
        if error.status_code is not None and error.status_code not in _MAY_PASS:
            return Unavailable(step=f"blob {step}", cause=code or f"status {error.status_code}")
        return None
    if isinstance(error, AzureError | OSError):  # a connection that failed, or an answer cut short
        return None
    return Unavailable(step=f"blob {step}", cause=repr(error))
