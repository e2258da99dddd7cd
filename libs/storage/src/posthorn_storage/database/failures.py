"""Which failures of driver, network and server mean what: undone for certain, busy, down, not let in."""

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from posthorn_model.errors import Overloaded, Unavailable

ROLLED_BACK = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.InvalidCachedStatementError)
"""Errors after which PostgreSQL has certainly undone the whole transaction, and the same work may pass next time."""
DEMOTED = (asyncpg.ReadOnlySQLTransactionError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, TimeoutError)
"""What a server says that is no primary any more, or is about to end, or that hangs so that it does not keep its own
time limits: none of the connections to it is of use."""
REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""What a server says to a login that will not do better next time."""
_BUSY = (asyncpg.InsufficientResourcesError, asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError)
_DOWN = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)


@contextmanager
def translated(step: str) -> Generator[None]:
    """Turn failures of the driver, the network and the server's capacity into Overloaded or Unavailable.

    `step` names the work for the log. Constraint violations and wrong statements are not touched.
    """
    try:
        yield
    except Exception as error:
        if (told := told_as(error, step)) is not None:
            raise told from error
        raise


def told_as(error: BaseException, step: str) -> Overloaded | Unavailable | None:
    """What a failure is told as; None for what is not to be touched."""
    if isinstance(error, (*_BUSY, *ROLLED_BACK)):
        return Overloaded(step=step, cause=repr(error))
    if isinstance(error, _DOWN):
        return Unavailable(step=step, cause=repr(error))
    return None
