"""A job of pieces done one after the other, each until it finds nothing more; its cursor is the name of one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from posthorn_maintenance.jobs.job import Progress, Step, Tenure
from posthorn_model.errors import LeaseLost, PosthornError

Piece: TypeAlias = Callable[[], Awaitable[int]]
"""One transaction; returns how many rows it removed, less than the batch when nothing is left."""


def one_by_one(pieces: Callable[[Tenure], Mapping[str, Piece]], batch: int, done: Callable[[str, int], None]) -> Step:
    """The step of such a job. A piece that fails is left for the next round, and the others are done all the same."""

    async def step(tenure: Tenure, cursor: str) -> Progress:
        own = pieces(tenure)
        names = list(own)
        if not names:
            return Progress()
        # A piece of a version that had others is nobody's any more: the round begins anew.
        number = names.index(cursor) if cursor in own else 0
        name = names[number]
        following = names[number + 1] if number + 1 < len(names) else ""
        try:
            removed = await own[name]()
        except LeaseLost:
            raise
        except PosthornError as error:
            tenure.log.warning("step failed, it is tried again", step=name, reason=error.public)
            return Progress(following, problem=f"{name}: {error.public}")
        done(name.partition("@")[0], removed)
        return Progress(name if removed >= batch else following, removed)

    return step
