"""No object store, for whoever works on the database alone, such as commands on accounts. It touches no file."""

from typing import NoReturn

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey
from posthorn_model.ports import Listing


class NoStore:
    """The port posthorn_model.ports.ObjectStore where there is none: every use of it raises Unavailable."""

    async def put(self, key: BlobKey, data: bytes | memoryview) -> None:  # noqa: ARG002
        """See the port."""
        _refuse("put")

    async def get(self, key: BlobKey) -> bytes:  # noqa: ARG002
        """See the port."""
        _refuse("get")

    async def get_range(self, key: BlobKey, start: int, length: int) -> bytes:  # noqa: ARG002
        """See the port."""
        _refuse("get")

    async def list(self, after: str, limit: int) -> Listing:  # noqa: ARG002
        """See the port."""
        _refuse("list")

    async def delete(self, key: BlobKey) -> None:  # noqa: ARG002
        """See the port."""
        _refuse("delete")

    async def probe(self) -> None:
        """See the port."""
        _refuse("probe")

    async def close(self) -> None:
        """Nothing is open."""


def _refuse(step: str) -> NoReturn:
    raise Unavailable("no blob store was named", step=step)
