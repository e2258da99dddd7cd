"""Compiled scripts of this process, by their text: most deliveries meet one that was compiled before."""

import asyncio
from collections import OrderedDict

from posthorn_sieve import InvalidScript, Script, compile_script

REMEMBERED = 2_000


class Programs:
    """The most lately used programs; a script that was changed is another text."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Script | InvalidScript] = OrderedDict()

    async def compiled(self, content: str) -> Script:
        """Raises InvalidScript: what a release of the past accepted may be refused by this one."""
        found = self._known.get(content)
        if found is None:
            found = await asyncio.to_thread(_compile, content)
            self._known[content] = found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(content)
        if isinstance(found, InvalidScript):
            raise InvalidScript(found.problem, found.line, found.column)
        return found


def _compile(content: str) -> Script | InvalidScript:
    try:
        return compile_script(content.encode("utf-8", "surrogatepass"))
    except InvalidScript as error:
        return error
