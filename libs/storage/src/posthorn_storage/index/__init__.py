"""The search index: words of messages, written by leased tasks behind the mail store and looked up by account.

`words` cuts texts, `terms` reads what is asked for, `vector` and `tsquery` put both into PostgreSQL's forms; `tasks`
says what is still to be indexed, `worker` does it, `postgres` keeps the words behind the port in `port`.
"""

from posthorn_storage.index.port import Claim, Document, Lag, SearchIndex, Wanted
from posthorn_storage.index.tasks import IndexTasks
from posthorn_storage.index.worker import Done, Extract, Indexer, Knows

__all__ = ["Claim", "Document", "Done", "Extract", "IndexTasks", "Indexer", "Knows", "Lag", "SearchIndex", "Wanted"]
