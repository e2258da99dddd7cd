"""Whether a database is migrated, found out without loading the migrations."""

import pytest
from alembic.script import ScriptDirectory

from posthorn_model.errors import Unavailable
from posthorn_storage.version import FOLDER, is_migrated, known_revisions


async def test_whether_a_database_is_migrated(postgres_dsn: str, bare_postgres_dsn: str) -> None:
    assert await is_migrated(postgres_dsn)
    assert not await is_migrated(bare_postgres_dsn)
    with pytest.raises(Unavailable):
        await is_migrated("postgresql://nobody:x@127.0.0.1:9/none")


def test_the_names_of_the_files_are_the_revisions() -> None:
    assert known_revisions() == [script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()]
