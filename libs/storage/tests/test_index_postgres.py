"""The contract of the search index over PostgreSQL, on a real one."""

import pytest

from posthorn_storage import Storage
from posthorn_storage.index import SearchIndex
from posthorn_testkit.contracts.search_index import SearchIndexContract


@pytest.mark.postgres
class TestPostgresIndex(SearchIndexContract):
    @pytest.fixture
    def index(self, storage: Storage) -> SearchIndex:
        return storage.shards.home.index
