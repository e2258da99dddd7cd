async def test_whether_a_database_is_migrated(postgres_dsn: str, bare_postgres_dsn: str) -> None:
    assert await is_migrated(postgres_dsn)
    assert not await is_migrated(bare_postgres_dsn)
    with pytest.raises(Unavailable):
        await is_migrated("postgresql://nobody:x@127.0.0.1:9/none")
