"""Message ids, taken from the database's sequence in blocks so that most units of work need no round trip for them."""

from collections import deque

from posthorn_model.ids import MessageId
from posthorn_storage.database import Connection

BLOCK = 256
TAKE = "SELECT nextval('message_id') FROM generate_series(1, $1::int)"


class MessageIds:
    """This process's stock of unused message ids. Those left at its end are never used."""

    def __init__(self) -> None:
        self._stock: deque[MessageId] = deque()

    async def take(self, connection: Connection, count: int) -> list[MessageId]:
        """Take `count` fresh ids."""
        while len(self._stock) < count:
            rows = await connection.fetch(TAKE, max(BLOCK, count))
            self._stock.extend(row[0] for row in rows)
        return [self._stock.popleft() for _ in range(count)]
