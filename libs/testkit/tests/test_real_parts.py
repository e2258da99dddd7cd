"""The fixtures hand out real servers: each test talks to one."""

import io

import aiokafka
import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from posthorn_ctl.embedded import ports
from posthorn_testkit.servers import S3, KafkaBroker


@pytest.mark.postgres
async def test_each_test_has_a_migrated_database_of_its_own(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        assert await connection.fetchval("SHOW server_version_num") >= "180000"
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        assert await connection.fetchval("SELECT count(*) FROM account") == 0
        await connection.execute("CREATE TABLE left_behind (id int)")
    finally:
        await connection.close()


@pytest.mark.postgres
async def test_nothing_of_another_test_is_left(postgres_dsn: str, bare_postgres_dsn: str) -> None:
    for dsn in (postgres_dsn, bare_postgres_dsn):
        connection = await asyncpg.connect(dsn)
        try:
            assert await connection.fetchval("SELECT to_regclass('left_behind')") is None
        finally:
            await connection.close()


@pytest.mark.kafka
async def test_a_stopped_broker_comes_back_with_what_it_held(kafka_broker: KafkaBroker) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.servers)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=kafka_broker.servers)
    await producer.start()
    await producer.send_and_wait("kept", b"before")
    await producer.stop()

    await kafka_broker.stop()
    assert ports.is_free(int(kafka_broker.servers.split(":")[1]))
    await kafka_broker.start()
    await kafka_broker.kill()
    await kafka_broker.start()

    consumer = aiokafka.AIOKafkaConsumer("kept", bootstrap_servers=kafka_broker.servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        assert (await consumer.getone()).value == b"before"
    finally:
        await consumer.stop()


@pytest.mark.s3
def test_the_s3_server_keeps_objects(s3: S3) -> None:
    bucket = s3.new_bucket()
    client = s3.client()
    client.put_object(bucket, "a/b", io.BytesIO(b"content"), 7)
    answer = client.get_object(bucket, "a/b", offset=3, length=2)
    try:
        assert answer.read() == b"te"
    finally:
        answer.close()
        answer.release_conn()
    assert s3.new_bucket() != bucket
