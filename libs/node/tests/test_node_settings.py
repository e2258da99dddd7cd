"""Settings: everything wrong is told at once with its place; what is right is read as typed values."""

from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from posthorn_node.settings import (
    Duration,
    FsStore,
    KafkaSettings,
    NatsSettings,
    NodeSettings,
    RedisServers,
    RedisStore,
    S3Store,
    Section,
    SettingsError,
    load,
    notices,
    parse,
    parse_bind,
    parse_duration,
    parse_rate,
    parse_size,
    shown,
    validate,
)

PATH = Path("node.toml")


class ImapSettings(Section):
    idle_timeout: Duration = 1800.0
    batch: int = 10


def read(text: str, environ: dict[str, str] | None = None) -> NodeSettings:
    found = validate(parse(text.encode(), PATH, environ or {}), {"": NodeSettings, "imap": ImapSettings})
    settings = found[""]
    assert isinstance(settings, NodeSettings)
    return settings


def problems(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(text, environ)
    return str(caught.value).splitlines()


TEN_MISTAKES = """\
[cluster]
nod-id = 4
heartbeat = "two"
coordinator = "kafak"

[server]
hostnam = "mx.example.org"

[server.listener.imap]
bind = ["127.0.0.1:99999"]
protocol = "imapp"

[store."postgres"]
type = "postgresql"
hots = "db"
password = "%{env:DB_PASSWORD}%"

[store."kafka"]
type = "kafka"
bootstrap-servers = ["k:9092"]

[store."fs"]
type = "fs"

[imap]
idle-timeuot = "5m"
"""


def test_ten_mistakes_are_reported_together_with_place_reason_and_nearest_key() -> None:
    assert problems(TEN_MISTAKES) == [
        "node.toml:2: cluster.nod-id: is not a known key (did you mean node-id?)",
        'node.toml:3: cluster.heartbeat: not a duration: write seconds, or a number with a unit such as "10s", "5m", '
        '"2h" or "1d"',
        'node.toml:4: cluster.coordinator: there is no [store."kafak"] (did you mean kafka?)',
        "node.toml:7: server.hostnam: is not a known key (did you mean hostname?)",
        'node.toml:10: server.listener.imap.bind[0]: "127.0.0.1:99999" is no address: write host:port, such as '
        '"127.0.0.1:143"',
        "node.toml:11: server.listener.imap.protocol: should be 'smtp', 'submission', 'lmtp', 'imap', 'pop3', "
        "'managesieve', 'jmap', 'dav' or 'api' (did you mean \"imap\"?)",
        "node.toml:15: store.postgres.hots: is not a known key (did you mean host?)",
        "node.toml:16: store.postgres.password: the environment variable DB_PASSWORD is not set",
        "node.toml:22: store.fs.path: is missing",
        "node.toml:26: imap.idle-timeuot: is not a known key (did you mean idle-timeout?)",
    ]


def test_problem_carries_its_parts() -> None:
    with pytest.raises(SettingsError) as caught:
        read("[cluster]\nnode_id = 4\n")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.key) == ("node.toml", 2, "cluster.node_id")
    assert (problem.reason, problem.suggestion) == ("is not a known key", "node-id")


def test_key_in_the_wrong_table_is_pointed_to_the_right_one() -> None:
    assert problems("[server]\nqueue-shards = 4\n") == [
        "node.toml:2: server.queue-shards: is not a known key (did you mean cluster.queue-shards?)"
    ]


def test_unknown_table_is_compared_with_services_too() -> None:
    assert problems("[smtp-inn]\n") == ["node.toml:1: smtp-inn: is not a known key (did you mean smtp-in?)"]


def test_other_services_tables_are_left_unread() -> None:
    read('[smtp-out]\nanything = "goes"\n[jmap.deep]\nx = 1\n')


def test_defaults_need_no_file_content() -> None:
    settings = read("")
    assert settings.cluster.node_id == "auto"
    assert settings.coordinator() is None
    assert settings.metrics.bind_for("imap") == "0.0.0.0:9090"
    with pytest.raises(SettingsError, match=r"storage\.data"):
        settings.data_store()
    with pytest.raises(SettingsError, match=r"storage\.blob"):
        settings.blob_stores()


def test_syntax_error_names_its_line() -> None:
    assert problems('[cluster]\nnode-id = 1\nname = "open\n')[0].startswith("node.toml:3: is not TOML: ")


def test_file_that_is_not_utf_8_names_its_line() -> None:
    with pytest.raises(SettingsError, match=r"node\.toml:2: is not UTF-8"):
        parse(b'[cluster]\nname = "\xff"\n', PATH, {})


def test_file_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"nested too deeply|is not TOML"):
        parse(b"a = " + b"[" * 20000 + b"]" * 20000, PATH, {})


def test_missing_and_oversized_files_are_problems(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml", {})
    big = tmp_path / "big.toml"
    big.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(SettingsError, match="is larger than"):
        load(big, {})


def test_variables_are_put_into_strings_wherever_they_stand() -> None:
    text = """
    [server]
    hostname = "%{env:HOST}%.example.org"
    [storage]
    blob = "s3"
    [store.postgres]
    type = "postgresql"
    port = "%{env:PORT}%"
    read-replicas = ["%{env:REPLICA}%:5433"]
    [store.s3]
    type = "s3"
    endpoint = "http://s3:9000"
    bucket = "mail"
    """
    settings = read(text, {"HOST": "mx", "PORT": "6432", "REPLICA": "db2"})
    assert settings.server.hostname == "mx.example.org"
    assert settings.data_store().port == 6432
    assert settings.data_store().read_replicas == ("db2:5433",)


def test_environment_overrides_add_and_replace() -> None:
    environ = {
        "POSTHORN__CLUSTER__NODE_ID": "3",
        "POSTHORN__CLUSTER__ROLES__PURGE__STORES": "[1, 2]",
        "POSTHORN__SERVER__LISTENER__IMAP__BIND": "127.0.0.1:1143",
        "POSTHORN__SERVER__HOSTNAME": "mx.example.org",
        "POSTHORN__METRICS__ENABLE": "false",
        "POSTHORN__IMAP__IDLE_TIMEOUT": "5m",
        "UNRELATED": "x",
    }
    text = '[cluster]\nnode-id = 1\n[server.listener.IMAP]\nprotocol = "imap"\nbind = "[::]:143"\n'
    found = validate(parse(text.encode(), PATH, environ), {"": NodeSettings, "imap": ImapSettings})
    settings: NodeSettings = found[""]
    assert settings.cluster.node_id == 3
    assert settings.cluster.roles.purge.stores == ((1, 2),)
    assert settings.server.listener["IMAP"].bind == ("127.0.0.1:1143",)
    assert settings.server.hostname == "mx.example.org"
    assert settings.metrics.enable is False
    assert found["imap"].idle_timeout == 300.0


def test_password_of_digits_stays_as_written_in_the_environment() -> None:
    text = '[store.postgres]\ntype = "postgresql"\n[storage]\nblob = "fs"\n[store.fs]\ntype = "fs"\npath = "/x"\n'
    settings = read(text, {"POSTHORN__STORE__POSTGRES__PASSWORD": "0123e4"})
    assert settings.data_store().password.get_secret_value() == "0123e4"


def test_mistakes_in_overrides_name_the_variable() -> None:
    found = problems("[cluster]\nnode-id = 1\n", {"POSTHORN__CLUSTER__NODE_ID": "many", "POSTHORN__CLUSTER__": "1"})
    assert len(found) == 2
    assert found[0].startswith("environment variable POSTHORN__CLUSTER__: names no setting")
    assert found[1].startswith("environment variable POSTHORN__CLUSTER__NODE_ID: cluster.node-id: must be an integer")


def test_override_below_a_value_is_a_problem() -> None:
    found = problems("[cluster]\nnode-id = 1\n", {"POSTHORN__CLUSTER__NODE_ID__X": "1"})
    assert found == ["environment variable POSTHORN__CLUSTER__NODE_ID__X: cluster.node-id: is a value, not a table"]


SECRETS = """
[cluster]
secret = "s3cr3t-cluster"
[storage]
blob = "s3"
[store.postgres]
type = "postgresql"
password = "s3cr3t-database"
[store.s3]
type = "s3"
endpoint = "http://s3:9000"
bucket = "mail"
secret-key = "s3cr3t-s3"
"""


def test_secrets_are_stars_wherever_settings_are_shown() -> None:
    file = parse(SECRETS.encode(), PATH, {})
    settings = validate(file, {"": NodeSettings})[""]
    for text in (shown(settings), repr(settings), str(settings), repr(file), str(file)):
        assert "s3cr3t" not in text
    assert 'cluster.secret = "********"' in shown(settings).splitlines()
    assert 'store.postgres.password = "********"' in shown(settings).splitlines()
    assert 'cluster.sasl.password = ""' in shown(settings).splitlines()


@pytest.mark.parametrize(
    "text",
    [
        '[cluster]\nsecret = ["s3cr3t"]\n',
        '[store.postgres]\ntype = "postgresql"\ndsn = "s3cr3t://x"\n',
        '[store.postgres]\ntype = "postgresql"\ndsn = "postgresql://u:s3cr3t@h/d"\nhost = "h"\n',
        '[store.postgres]\ntype = "postgresql"\npasswort = "s3cr3t"\n',
    ],
)
def test_secrets_never_stand_in_problems(text: str) -> None:
    found = problems(text)
    assert found
    assert "s3cr3t" not in "\n".join(found)


def test_shown_settings_can_be_read_again() -> None:
    text = '[cluster]\nregion = "eu"\n[store."odd name"]\ntype = "fs"\npath = "/p"\n[storage]\nblob = "odd name"\n'
    text += '[store.postgres]\ntype = "postgresql"\n'
    settings = read(text)
    again = validate(parse(shown(settings).encode(), PATH, {}), {"": NodeSettings})[""]
    assert again == settings


KAFKA = 'bootstrap-servers = ["k1:9092", "k2:9092"]\ntls.enable = true\nsasl.mechanism = "PLAIN"\n'
KAFKA += 'sasl.username = "u"\nsasl.password = "p"\n'


@pytest.mark.parametrize(
    "text",
    [
        f'[cluster]\ntype = "kafka"\n{KAFKA}',
        f'[cluster]\ncoordinator = "bus"\n[store.bus]\ntype = "kafka"\n{KAFKA}[storage]\ndata = ""\nblob = ""\n',
    ],
    ids=["short form", "named store"],
)
def test_both_forms_of_the_coordinator_give_the_same(text: str) -> None:
    kafka = read(text).coordinator()
    assert isinstance(kafka, KafkaSettings)
    assert kafka.bootstrap_servers == ("k1:9092", "k2:9092")
    assert kafka.tls.enable
    assert kafka.sasl.password.get_secret_value() == "p"


@pytest.mark.parametrize(
    "text",
    [
        '[cluster]\ntype = "nats"\nurls = ["nats://u:s3cr%25t@n1:4222", "nats://u:s3cr%25t@[::1]"]\n',
        '[cluster]\ncoordinator = "bus"\n[store.bus]\ntype = "nats"\nurls = ["nats://n1:4222", "nats://[::1]"]\n'
        'user = "u"\npassword = "s3cr%t"\n',
    ],
    ids=["short form", "named store"],
)
def test_nats_as_the_guide_writes_it(text: str) -> None:
    settings = read(text)
    nats = settings.coordinator()
    assert isinstance(nats, NatsSettings)
    assert nats.servers() == ("n1:4222", "[::1]:4222")
    assert nats.login() == ("u", "s3cr%t", "")
    assert not nats.secured
    assert "s3cr" not in repr(settings) + shown(settings)


@pytest.mark.parametrize(
    ("text", "kind", "servers"),
    [
        (
            'urls = ["redis://sentinel1:26379", "redis://sentinel2:26379"]',
            "sentinel",
            (("sentinel1", 26379), ("sentinel2", 26379)),
        ),
        ('urls = "redis://s1"\nsentinel.master = "mail"', "sentinel", (("s1", 26379),)),
        ('urls = ["redis://c1", "redis://c2:7000"]\ncluster = true', "cluster", (("c1", 6379), ("c2", 7000))),
        ('urls = "redis://r1"', "server", (("r1", 6379),)),
    ],
)
def test_redis_as_the_coordinator_in_short(text: str, kind: str, servers: tuple[tuple[str, int], ...]) -> None:
    redis = read(f'[cluster]\ntype = "redis"\n{text}\n').coordinator()
    assert isinstance(redis, RedisServers)
    assert (redis.kind, redis.servers()) == (kind, servers)


def test_one_redis_serves_look_ups_and_coordination() -> None:
    text = """
    [cluster]
    coordinator = "redis"
    [storage]
    lookup = "redis"
    blob = "fs"
    [store.postgres]
    type = "postgresql"
    [store.fs]
    type = "fs"
    path = "/x"
    [store.redis]
    type = "redis"
    urls = ["rediss://watch:s3cr3t-one@s1", "rediss://watch:s3cr3t-one@s2"]
    sentinel.master = "mail"
    user = "posthorn"
    password = "s3cr3t-two"
    """
    settings = read(text)
    redis = settings.coordinator()
    assert isinstance(redis, RedisServers)
    assert redis is settings.lookup_store()
    assert redis.secured
    assert redis.login() == ("posthorn", "s3cr3t-two")
    assert redis.sentinel_login() == ("watch", "s3cr3t-one")
    assert notices(settings) == []
    assert "s3cr3t" not in repr(settings) + shown(settings)
    unused = read(text.replace('coordinator = "redis"', "").replace('lookup = "redis"', ""))
    assert len(notices(unused)) == 1


def test_nats_with_a_token_over_tls() -> None:
    nats = read('[cluster]\ntype = "nats"\nurls = ["tls://t0k3n@n1"]\ntls.ca = "/ca.pem"\n').coordinator()
    assert isinstance(nats, NatsSettings)
    assert nats.secured
    assert nats.login() == ("", "", "t0k3n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[cluster]\ntype = "kafka"\n', 'cluster.bootstrap-servers: type = "kafka" needs'),
        (
            f'[cluster]\ntype = "kafka"\n{KAFKA}topics.min-insync-replicas = 4\n',
            "cluster.topics.min-insync-replicas: cannot be more than replication-factor",
        ),
        ('[cluster]\ntype = "nats"\n', 'cluster.urls: is missing: type = "nats" needs it'),
        ('[cluster]\ntype = "nats"\nurls = []\n', "cluster.urls: "),
        ('[cluster]\ntype = "nats"\nurls = ["kafka://h"]\n', "cluster.urls: must be nats://host:port, or tls://"),
        ('[cluster]\ntype = "nats"\nurls = ["nats://h/x"]\n', "cluster.urls: must be nats://host:port, or tls://"),
        ('[cluster]\ntype = "nats"\nurls = ["nats://h", "tls://g"]\n', "cluster.urls: must all be nats://"),
        ('[cluster]\ntype = "nats"\nurls = ["nats://t@h", "nats://g"]\n', "cluster.urls: must all have the same"),
        (
            '[cluster]\ntype = "nats"\nurls = ["nats://t@h"]\ntoken = "x"\n',
            "cluster.urls: give the login either here or",
        ),
        ('[cluster]\ntype = "nats"\nurls = ["nats://h"]\nuser = "x"\n', "cluster.password: user and password belong"),
        ('[cluster]\ntype = "nats"\nurls = "nats://h"\ntls.ca = "x"\n', "cluster.tls: only used with tls://"),
        ('[cluster]\ntype = "nats"\nurls = "nats://h"\ncoordinator = "x"\n', "cluster.coordinator: give either"),
        ('[cluster]\ntype = "nats"\nname = "a..b"\nurls = "nats://h"\n', "cluster.name: "),
        ('[cluster]\nurls = "nats://h"\n', 'cluster.urls: urls is only used with type = "nats"'),
        ('[cluster]\ntype = "redis"\n', 'cluster.urls: is missing: type = "redis" needs it'),
        ('[cluster]\ntype = "redis"\nurls = "http://h"\n', "cluster.urls: must be redis://host:port, or rediss://"),
        ('[cluster]\ntype = "redis"\nurls = "redis://h"\ntls.ca = "x"\n', "cluster.tls: only used with rediss://"),
        ('[cluster]\ntype = "redis"\nurls = "redis://h"\ntls.enable = true\n', "cluster.tls: write rediss:// in the"),
        (
            '[cluster]\ntype = "redis"\nurls = "redis://h"\ntoken = "x"\n',
            'cluster.token: token is only used with type = "n',
        ),
        ('[cluster]\nsentinel.master = "x"\n', 'cluster.sentinel: sentinel.master is only used with type = "redis"'),
        ('[store.n]\ntype = "nats"\nurls = "h:1"\n', "store.n.urls: must be nats://host:port, or tls://"),
        ('[cluster]\nbootstrap-servers = ["k:1"]\n', "cluster.bootstrap-servers: bootstrap-servers is only used"),
        ('[cluster]\nsasl.mechanism = "PLAIN"\n', "cluster.sasl.mechanism: a mechanism needs username and password"),
        ('[cluster]\nheartbeat = "5s"\n', "cluster.heartbeat: must be at least"),
        ('[cluster]\nlease-ttl = "2.9s"\nheartbeat = "1s"\n', "cluster.lease-ttl: must be at least 3s"),
        ('[cluster]\nlease-ttl = "3s"\n', "cluster.heartbeat: must be at most half of lease-ttl"),
        ("[cluster]\nnode-id = 0\n", "cluster.node-id: must be an integer from 1"),
        ("[cluster]\nnode-id = true\n", "cluster.node-id: must be an integer from 1"),
        ("[cluster.roles.purge]\nstores = [1, [2]]\n", "cluster.roles.purge.stores: must be a list of node ids, or"),
        ('[server.tls]\ncertificate = "c.pem"\n', "server.tls.private-key: certificate and private-key belong"),
        (
            "\n".join(
                f'[server.tls.certificates.{name}]\ncertificate = "c"\nprivate-key = "k"\ndefault = true'
                for name in "ab"
            ),
            "server.tls.certificates: only one of them can be the default",
        ),
        (
            '[server.tls.certificates.a]\ncertificate = "c"\nprivate-key = "k"\nnames = ["a b"]',
            "server.tls.certificates.a.names[0]: ",
        ),
        ("[server.listener.a]\n", "server.listener.a.protocol: is missing"),
        ('[server.listener.a]\nprotocol = "jmap"\nbind = "h:1"\ntls = "starttls"\n', "a.tls: HTTP has no STARTTLS"),
        ('[server.listener.a]\nprotocol = "imap"\nbind = []\n', "server.listener.a.bind: "),
        ('[store.x]\npath = "/"\n', "store.x.type: is missing"),
        ('[store.x]\ntype = "etcd"\n', "store.x.type: is no known kind; known are azure, fs, kafka, memory, "),
        ('[storage]\ndata = "fs"\n[store.fs]\ntype = "fs"\npath = "/"\n', 'storage.data: store "fs" is of type fs'),
        ("server = 3\n", "node.toml:1: server: must be a table"),
        ("cluster = [1]\n[storage]\n", "node.toml:1: cluster: must be a table"),
        ("imap = 3\n", "node.toml:1: imap: must be a table"),
    ],
)
def test_each_wrong_combination_has_a_clear_reason(text: str, reason: str) -> None:
    found = problems(text)
    assert any(reason in line for line in found), found


def test_two_listeners_on_one_address_are_a_problem() -> None:
    text = '[server.listener.a]\nprotocol = "imap"\nbind = "127.0.0.1:143"\n'
    text += '[server.listener.b]\nprotocol = "pop3"\nbind = ["127.0.0.1:110", "127.0.0.1:143"]\n'
    assert problems(text) == ['node.toml:6: server.listener.b.bind: 127.0.0.1:143 is already taken by the listener "a"']


def test_listeners_have_their_name_usual_tls_and_url() -> None:
    settings = read("""
    [server]
    hostname = "mx.example.org"
    [server.listener.imap]
    protocol = "imap"
    bind = "*:143"
    [server.listener.imaps]
    protocol = "imap"
    bind = "*:993"
    tls.implicit = true
    [server.listener.http]
    protocol = "jmap"
    bind = ["0.0.0.0:8080", "[::1]:8081"]
    [server.listener.https]
    protocol = "dav"
    bind = "*:443"
    tls = "implicit"
    [server.listener.behind]
    protocol = "api"
    bind = "127.0.0.1:8082"
    url = "https://api.example.org/"
    """)
    imap, imaps = settings.listeners("imap")
    assert (imap.name, imap.tls, imaps.name, imaps.tls) == ("imap", "starttls", "imaps", "implicit")
    urls = [listener.url for listener in settings.listeners("jmap", "dav", "api")]
    assert urls == ["http://mx.example.org:8080", "https://mx.example.org", "https://api.example.org"]


def test_data_source_names_carry_odd_passwords_and_replicas() -> None:
    text = """
    [store.postgres]
    type = "postgresql"
    host = "db"
    user = "post horn"
    password = "p@ss/word"
    tls = "require"
    read-replicas = ["db2", "[::1]:5433"]
    [storage]
    blob = "fs"
    [store.fs]
    type = "fs"
    path = "/blobs"
    """
    settings = read(text)
    store = settings.data_store()
    assert store.connection() == "postgresql://post%20horn:p%40ss%2Fword@db:5432/posthorn?sslmode=require"
    assert [dsn.split("@")[1] for dsn in store.replica_connections()] == [
        "db2:5432/posthorn?sslmode=require",
        "[::1]:5433/posthorn?sslmode=require",
    ]
    blobs = settings.blob_stores()["fs"]
    assert isinstance(blobs, FsStore)
    assert blobs.path == Path("/blobs")


@pytest.mark.parametrize("hosts", ['"db1, db2:5433, ::1"', '["db1", "db2:5433", "::1"]'])
def test_several_hosts_of_one_database(hosts: str) -> None:
    text = SECRETS.replace('password = "s3cr3t-database"', f"host = {hosts}\nread-replicas = ['db2:5433']\nport = 6000")
    store = read(text).data_store()
    assert store.connection() == "postgresql://posthorn@db1:6000,db2:5433,[::1]:6000/posthorn?sslmode=prefer"
    assert store.replica_connections() == ("postgresql://posthorn@db2:5433/posthorn?sslmode=prefer",)


def test_replicas_are_not_asked_for_what_the_primary_is() -> None:
    dsn = "postgresql://u:p@h1:1,h2:2/d?target_session_attrs=read-write&sslmode=require"
    text = SECRETS.replace('password = "s3cr3t-database"', f'dsn = "{dsn}"\nread-replicas = ["h1:1", "h3"]')
    store = read(text).data_store()
    assert store.connection() == dsn
    assert store.replica_connections() == (
        "postgresql://u:p@h1:1/d?sslmode=require",
        "postgresql://u:p@h3:5432/d?sslmode=require",
    )


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ('host = ""', "host"),
        ('host = "db1,,db2"', "host"),
        ("host = []", "host"),
        ("pool.delivery = 0", "pool.delivery"),
        ('pool.mode = "statement"', "pool.mode"),
        ('replica.wait = "soon"', "replica.wait"),
        ("replica.connections = 1001", "replica.connections"),
    ],
)
def test_what_is_wrong_with_a_database_is_named(wrong: str, named: str) -> None:
    (found,) = problems(SECRETS.replace('password = "s3cr3t-database"', wrong))
    assert f"store.postgres.{named}" in found


def test_whole_data_source_name_and_its_replicas() -> None:
    text = SECRETS.replace('password = "s3cr3t-database"', 'dsn = "postgresql://u:p@db:6000/d"\nread-replicas = ["r"]')
    settings = read(text)
    assert settings.data_store().connection() == "postgresql://u:p@db:6000/d"
    assert settings.data_store().replica_connections() == ("postgresql://u:p@r:6000/d",)
    assert isinstance(settings.blob_stores()["s3"], S3Store)


def test_stores_that_nothing_uses_get_a_notice() -> None:
    text = f'{SECRETS}[store.redis]\ntype = "redis"\nurls = ["redis://r:6379"]\ncluster = true\n'
    unused = 'store "redis" of type redis is not used: neither storage.lookup nor cluster.coordinator names it'
    assert notices(read(text)) == [unused]
    used = text.replace("[storage]", '[storage]\nlookup = "redis"')
    assert used != text
    assert notices(read(used)) == []
    memory = used.replace('lookup = "redis"', 'lookup = "here"') + '[store.here]\ntype = "memory"\n'
    assert notices(read(memory)) == [
        unused,
        'store "here": each process counts for itself, what one sees the others do not',
    ]


def test_redis_as_the_guide_writes_it() -> None:
    settings = read("""
    [storage]
    lookup = "redis"
    data = "p"
    blob = "f"
    [store.p]
    type = "postgresql"
    [store.f]
    type = "fs"
    path = "/blobs"
    [store."redis"]
    type = "redis"
    urls = [
        "redis://sentinel1:26379",
        "redis://:hidden@sentinel2:26379",
        "redis://sentinel3:26379"
    ]
    sentinel.master = "stalwart-master"
    """)
    store = settings.lookup_store()
    assert isinstance(store, RedisStore)
    assert (store.sentinel.master, store.cluster, len(store.urls)) == ("stalwart-master", False, 3)
    assert store.urls[0].get_secret_value() == "redis://sentinel1:26379"
    assert "hidden" not in shown(settings) + repr(settings)


def test_look_ups_are_in_the_data_store_by_default() -> None:
    assert read(SECRETS).lookup_store() is None
    assert read(SECRETS.replace("[storage]", '[storage]\nlookup = "postgres"')).lookup_store() is None


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("", "store.r.urls: is missing"),
        ("urls = []", "store.r.urls: "),
        ('urls = ["http://:hidden@r"]', "store.r.urls: must be redis://host:port"),
        ('urls = ["redis://:hidden@r:port"]', "store.r.urls: must be redis://host:port"),
        ('urls = "redis://r/name"', "store.r.urls: what follows the host"),
        ('urls = ["redis://a", "redis://b"]', "store.r.urls: several need sentinel.master, or cluster = true"),
        ('urls = ["redis://a", "rediss://b"]\ncluster = true', "store.r.urls: must all be redis://, or all rediss://"),
        ('urls = "redis://a/1"\ncluster = true', "store.r.urls: a cluster has no numbered databases"),
        ('urls = "redis://a"\ncluster = true\nsentinel.master = "m"', "store.r.cluster: give either cluster or"),
        ('urls = "redis://:hidden@a"\npassword = "hidden"', "store.r.password: give it either here or in the urls"),
        ('urls = "redis://a"\nuser = "u"', "store.r.user: a user needs a password"),
        ('urls = "redis://a"\ntls.ca = "ca.pem"', "store.r.tls: only used with rediss://"),
        ('urls = "rediss://a"\ntls.cert = "c.pem"', "store.r.tls.key: a client certificate needs both"),
        ('urls = "redis://a"\ntimeout = "1m"', "store.r.timeout: "),
        ('urls = "redis://a"\nurl = "x"', "store.r.url: is not a known key (did you mean urls?)"),
    ],
)
def test_each_wrong_redis_has_a_clear_reason(keys: str, reason: str) -> None:
    found = problems(f'[store.r]\ntype = "redis"\n{keys}\n')
    assert any(reason in line for line in found), found
    assert "hidden" not in str(found)


def test_look_ups_go_to_the_data_store_or_elsewhere() -> None:
    text = '[storage]\ndata = "p"\nblob = "f"\nlookup = "{}"\n'
    text += '[store.p]\ntype = "postgresql"\n[store.q]\ntype = "postgresql"\n[store.f]\ntype = "fs"\npath = "/"\n'
    assert problems(text.format("q")) == [
        'node.toml:4: storage.lookup: look-ups in PostgreSQL are kept in the data store, which is "p"'
    ]
    assert problems(text.format("f")) == [
        'node.toml:4: storage.lookup: store "f" is of type fs; this needs postgresql or redis or memory'
    ]


def test_sub_addressing_has_delimiters_that_an_address_may_have() -> None:
    assert read("").sub_addressing.delimiters == "+"
    found = read('[sub-addressing]\ndelimiters = "+-"\nmailboxes = true\n').sub_addressing
    assert (found.delimiters, found.mailboxes) == ("+-", True)
    for wrong in ('"@"', '"a"', '"+-=_."', '" "'):
        (problem,) = problems(f"[sub-addressing]\ndelimiters = {wrong}\n")
        assert "part user and detail" in problem


def test_how_often_logins_may_fail() -> None:
    throttle = read("").auth.throttle
    assert (throttle.address, throttle.account, throttle.exempt_networks) == ("100/1h", "50/1h", ())
    assert parse_rate(throttle.address) == (100, 3600.0)
    text = '[auth.throttle]\naddress = "20 / 10m"\naccount = "none"\nexempt-networks = ["192.0.2.7", "2001:db8::/32"]\n'
    throttle = read(text).auth.throttle
    assert (parse_rate(throttle.address), parse_rate(throttle.account)) == ((20, 600.0), None)
    assert throttle.exempt_networks == ("192.0.2.7/32", "2001:db8::/32")
    for wrong in ('"20"', '"0/1h"', '"20/0s"', '"20/1y"', "20", '"20/99d"', '"99999/1s"', '"-1/1h"'):
        (found,) = problems(f"[auth.throttle]\naccount = {wrong}\n")
        assert "auth.throttle.account: not a " in found


def test_what_is_accepted_and_does_nothing_gets_a_notice() -> None:
    text = SECRETS + "[cluster.roles]\npurge.stores = [1]\nacme.renew = [1, 2]\n"
    text += "metrics.push = [1]\nreports.send = [1]\n"
    assert notices(read(text)) == [
        "cluster.roles.acme.renew is not used: there is no [acme] to order certificates of",
        "cluster.roles.metrics.push is not used: metrics.push.url does not say where to push",
        "cluster.roles.reports.send is not used: neither reports.dmarc nor reports.tls is enabled",
    ]


def test_keys_of_kafka_get_a_notice_where_another_coordinator_is_used() -> None:
    keys = 'topic = "mail"\n[cluster.topics]\nretention = "1h"\n'
    kafka = '[cluster]\ntype = "kafka"\nbootstrap-servers = ["one:9092"]\n'
    assert notices(read(kafka + keys)) == []
    where = 'it belongs to cluster.type = "kafka", or into the store of type kafka'
    assert notices(read('[cluster]\ntype = "nats"\nurls = ["nats://one:4222"]\n' + keys)) == [
        f"cluster.topic is not used: {where}",
        f"cluster.topics is not used: {where}",
    ]


def test_one_file_serves_several_processes_with_their_own_metrics_bind() -> None:
    settings = read('[metrics]\nbind = "127.0.0.1:9090"\n[metrics.binds]\nsmtp-in = "127.0.0.1:9091"\n')
    assert settings.metrics.bind_for("smtp-in") == "127.0.0.1:9091"
    assert settings.metrics.bind_for("imap") == "127.0.0.1:9090"


@pytest.mark.parametrize(
    ("value", "size"), [(5, 5), ("16kB", 16384), ("50MB", 50 << 20), ("1 GiB", 1 << 30), ("7", 7), ("9b", 9)]
)
def test_sizes(value: Any, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "kB", "-1", "1.5MB", "1 QB", -1, True, None, "9" * 100, [1]])
def test_no_sizes(value: Any) -> None:
    with pytest.raises(PydanticCustomError, match="not a size"):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "seconds"), [(5, 5), (0.5, 0.5), ("10s", 10), ("1h30m", 5400), ("2d", 172800), ("500ms", 0.5), ("7", 7)]
)
def test_durations(value: Any, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize("value", ["", "s", "-1s", "1y", -1, True, None, float("nan"), float("inf"), "1h30", [1]])
def test_no_durations(value: Any) -> None:
    with pytest.raises(PydanticCustomError, match="not a duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:143", ("127.0.0.1", 143)),
        ("[::1]:1", ("::1", 1)),
        ("*:25", ("", 25)),
        ("mx.example.org:0", ("mx.example.org", 0)),
    ],
)
def test_binds(text: str, address: tuple[str, int]) -> None:
    assert parse_bind(text) == address


@pytest.mark.parametrize("text", ["", "127.0.0.1", ":25", "h:65536", "h:-1", "::1:25", "h:²", "a b:1", "h:"])
def test_no_binds(text: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        parse_bind(text)


def test_endpoint_without_a_port_takes_the_default() -> None:
    assert parse_bind("9.9.9.9", default_port=53) == ("9.9.9.9", 53)
    assert parse_bind("::1", default_port=53) == ("::1", 53)
    assert parse_bind("[::1]:5353", default_port=53) == ("::1", 5353)


AUTHORITY = 'directory = "https://ca.test/dir"\nterms-agreed = true\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('directory = "https://ca.test/dir"\ndomains = ["a.test"]', "acme.a.terms-agreed: say true when you agree"),
        (
            f'{AUTHORITY}domains = ["*.a.test"]',
            'acme.a.domains: authorities give *.a.test for challenge = "dns-01" only',
        ),
        (f'{AUTHORITY}domains = ["a.test"]\nchallenge = "dns-01"', "acme.a.dns: challenge = "),
        (f"{AUTHORITY}domains = []", "acme.a.domains: "),
        (f'{AUTHORITY}domains = ["a b"]', "acme.a.domains[0]: "),
        (f'{AUTHORITY}domains = ["a.test"]\ncontact = ["nobody"]', 'acme.a.contact: "nobody" is no mail address'),
        (f'{AUTHORITY}domains = ["a.test"]\neab.kid = "k"', "acme.a.eab.hmac-key: kid and hmac-key belong together"),
        (
            f'{AUTHORITY}domains = ["a.test"]\ndns.server = "ns"',
            "acme.a.dns: an update names the zone it changes: give dns.zone",
        ),
        (f'{AUTHORITY}domains = ["a.test"]\ndns.key-name = "k"', "acme.a.dns.key-secret: key-name and key-secret"),
        (
            f'{AUTHORITY}domains = ["a.test"]\ndns.key-name = "k"\ndns.key-secret = "?"',
            "acme.a.dns.key-secret: not base64",
        ),
        ('directory = "http://ca.test/dir"\ndomains = ["a.test"]\nterms-agreed = true', "acme.a.directory: "),
    ],
)
def test_what_cannot_be_ordered_is_told(text: str, told: str) -> None:
    assert any(told in problem for problem in problems(f"[acme.a]\n{text}\n"))


def test_certificates_are_ordered_only_with_a_secret_to_seal_them() -> None:
    order = f'[acme.a]\n{AUTHORITY}domains = ["A.test"]\n'
    assert read(order).acme["a"].domains == ("a.test",)
    assert any("nothing is ordered by acme: set certificates.secret" in notice for notice in notices(read(order)))
    assert notices(read(order + '[certificates]\nsecret = "sixteen characters"\n')) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[dkim."A b"]', "dkim."),
        ('[dkim."x.org"]\nalgorithms = ["rsa", "rsa"]', "algorithms: each of them once"),
        ('[dkim."x.org"]\nalgorithms = []', "algorithms: "),
        ('[dkim."x.org"]\nalgorithms = ["dsa"]', "algorithms[0]: "),
        ('[dkim."x.org"]\nrotate-interval = "1m"', "rotate-interval: a key must be allowed to sign before"),
        ('[dkim."x.org".dns]\nserver = "ns"\ncommand = ["x"]', "command: give either server or command"),
    ],
)
def test_dkim_keys_that_cannot_be_made_are_told(text: str, told: str) -> None:
    assert any(told in problem for problem in problems(f"{text}\n"))


def test_dkim_keys_are_made_only_with_a_secret_to_seal_them() -> None:
    tables = '[dkim."*"]\n[dkim."x.org".dns]\nserver = "ns"\n'
    assert read(tables).dkim["x.org"].dns.automatic
    assert not read(tables).dkim["*"].dns.automatic
    assert notices(read(tables)) == ["no DKIM key is made: set certificates.secret, under which the keys are sealed"]


def test_the_secret_of_the_cluster_seals_where_no_other_is_named() -> None:
    assert read("").sealing_secrets() == ()
    assert read('[cluster]\nsecret = "short"\n').sealing_secrets() == ()
    shared = '[cluster]\nsecret = "the secret of the cluster"\n'
    assert read(shared).sealing_secrets() == ("the secret of the cluster",)
    own = '[certificates]\nsecret = "a secret of its own"\nformer-secrets = ["a former secret"]\n'
    assert read(shared + own).sealing_secrets() == (
        "a secret of its own",
        "a former secret",
        "the secret of the cluster",
    )
