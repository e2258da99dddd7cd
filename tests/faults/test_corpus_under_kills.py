"""The corpus on its way in by SMTP, APPEND and import while everything is killed in turn, at last `posthorn up` itself.

Beside it, mail to the outside waits in the queue and goes on by itself. What was acknowledged is compared octet for
octet, over IMAP and over JMAP, on each of the two nodes.
"""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from tests.faults.couriers import AppendCourier, Courier, ImportCourier, SmtpCourier, Target
from tests.faults.ledger import Ledger, read_all
from tests.faults.load import Load
from tests.faults.nemesis import Nemesis, lives
from tests.faults.outside import Outside
from tests.faults.test_queue import recipient, waiting

from posthorn_mail_auth.results import strip
from posthorn_testkit.cluster import ClusterUnderTest, until
from posthorn_testkit.corpus import carried_by_smtp
from posthorn_testkit.jmap_client import JmapClient

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
VICTIMS = ("imap", "jmap", "smtp-in", "smtp-out", "kafka", "dav", "postgresql", "maintenance")
PATIENCE = 300.0
QUEUED = 100


def test_the_corpus_outlives_the_kill_of_everything(
    cluster: ClusterUnderTest,
    nemesis: Nemesis,
    new_accounts: Callable[[int], list[Target]],
    corpus_messages: dict[str, bytes],
) -> None:
    received, appended, imported, author = new_accounts(4)
    everything = list(corpus_messages.values())
    # Each with a sender of its own: equal messages of one sender at one moment are repeats (decision 0005). And without
    # results that do not say whose they are, of which nothing is left (RFC 8601 5).
    by_smtp = [
        Target(received.name, received.password, strip(content, "node1.localhost"), f"corpus-{number}@ledger.test")
        for number, content in enumerate(everything * 2)
        if carried_by_smtp(content)
    ]
    ledgers = {name: Ledger(f"corpus-{name}") for name in ("smtp", "append", "import", "queue")}

    def authored(cluster: ClusterUnderTest, ledger: Ledger) -> Courier:
        return SmtpCourier(cluster, ledger, login=author)

    def all_of(target: Target) -> list[Target]:
        return [Target(target.name, target.password, content) for content in everything]

    plan: list[tuple[str, list[Target], Callable[[ClusterUnderTest, Ledger], Courier], int]] = [
        ("smtp", by_smtp, SmtpCourier, 2),
        ("append", all_of(appended), AppendCourier, 1),
        ("import", all_of(imported), ImportCourier, 1),
        ("queue", [recipient(cluster)] * QUEUED, authored, 1),
    ]
    with ExitStack() as stack:
        loads = {
            name: stack.enter_context(
                Load(cluster, ledgers[name], work, len(work), connections=connections, courier=courier)
            )
            for name, work, courier, connections in plan
        }
        pace = len(by_smtp) // (len(VICTIMS) + 2)
        for number, service in enumerate(VICTIMS):
            ledgers["smtp"].wait((number + 1) * pace, PATIENCE)
            nemesis.kill(service)
        ledgers["smtp"].wait((len(VICTIMS) + 1) * pace, PATIENCE)
        left = nemesis.kill_all()
        assert len(ledgers["smtp"].acknowledged()) < len(by_smtp), "the run was over before the last kill"
        until("no process is left", lambda: not any(lives(pid) for pid in left))
        cluster.up()
    assert all(loads[name].breaks > 0 for name in ("smtp", "append", "import")), "somebody did not notice any kill"
    assert all(len(ledgers[name].acknowledged()) == len(work) for name, work, _, _ in plan)

    with Outside(cluster) as outside:
        outside.wait(QUEUED)
        until("the queue is empty", lambda: waiting(cluster) == 0)
        assert set(outside.copies()) == {entry.token for entry in ledgers["queue"].acknowledged()}
    for name, target in (("smtp", received), ("append", appended), ("import", imported)):
        account = (target.name, target.password)
        for node in (1, 2):
            for way, contents in (
                ("imap", read_all(cluster, account, node)),
                ("jmap", list(JmapClient(cluster, account, node).contents())),
            ):
                verdict = ledgers[name].compare({target.name: contents})
                assert verdict.is_clean, f"{name} as {way} of node {node} shows it: {verdict}"
                print(f"{name} over {way} of node {node}: {len(contents)} messages, all accounted for")
