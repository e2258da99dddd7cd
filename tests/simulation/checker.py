"""What must be true of every simulation, whatever happened in it."""

from collections.abc import Sequence

from tests.simulation.lease_table import Write
from tests.simulation.world import World


def two_owners(log: Sequence[Write]) -> list[str]:
    """Writes of two owners of one key that both counted: an old epoch after a newer one, or one epoch of two owners."""
    newest: dict[str, Write] = {}
    owners: dict[tuple[str, int], str] = {}
    found = []
    for place, write in enumerate(log):
        before = newest.get(write.key)
        if before is not None and write.epoch < before.epoch:
            found.append(f"write {place}: {write.owner} wrote {write.key} as epoch {write.epoch} after {before}")
        else:
            newest[write.key] = write
        first = owners.setdefault((write.key, write.epoch), write.owner)
        if first != write.owner:
            found.append(f"write {place}: epoch {write.epoch} of {write.key} is of {first} and of {write.owner}")
    return found


def unowned(world: World) -> list[str]:
    """Keys that not exactly one process owns, or whose owner is another one than the table says."""
    found = []
    for key, owners in world.owners().items():
        row = world.table.rows.get(key)
        if len(owners) != 1:
            found.append(f"{key} is owned by {[owner.boot for owner in owners]}, by the table {row}")
        elif row is None or row.owner != owners[0].boot or row.until <= world.loop.now:
            found.append(f"{key} is owned by {owners[0].boot}, by the table {row}")
    return found


def misplaced(world: World) -> list[str]:
    """Keys that somebody owns who is not proposed them.

    Who is proposed all it may have asks for nothing: so it is without a coordinator too, for everybody.
    """
    proposed = world.proposed()
    return [
        f"{key} is owned by {owner.name} and proposed to {proposed[key]}"
        for key, owners in world.owners().items()
        for owner in owners
        if owner.name != proposed[key] and not world.is_proposed_all(proposed[key])
    ]
