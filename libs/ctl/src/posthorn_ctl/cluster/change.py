"""From one layout of a running cluster to another: what starts, what is started anew, what is drained. Pure."""

from dataclasses import dataclass

from posthorn_ctl.cluster.layout import Layout

Place = tuple[int, str]
"""A node's id and a service of it."""


@dataclass(frozen=True, slots=True)
class Change:
    """In the order it should be done, so that what serves now goes last."""

    start: tuple[Place, ...]
    again: tuple[Place, ...]
    """Processes that must learn another region."""
    stop: tuple[Place, ...]

    def __bool__(self) -> bool:
        return bool(self.start or self.again or self.stop)


def change(old: Layout, new: Layout) -> Change:
    """What leads from `old` to `new`."""
    before, after = _regions(old), _regions(new)
    return Change(
        start=tuple(place for place in after if place not in before),
        again=tuple(place for place in after if place in before and before[place] != after[place]),
        stop=tuple(place for place in before if place not in after),
    )


def _regions(plan: Layout) -> dict[Place, str]:
    return {(node.number, service): node.region for node in plan.nodes for service in node.services}
