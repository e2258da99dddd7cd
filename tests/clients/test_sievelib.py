"""A client of ManageSieve that is told of the port by cluster.json; what it stores holds at every node."""

import smtplib

import pytest
from sievelib.managesieve import Client

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
SCRIPT = 'require ["fileinto", "mailbox"];\nif header :contains "Subject" "lists" { fileinto :create "Lists"; }\n'


@pytest.mark.filterwarnings("ignore:Credentials are sent")
def test_a_script_stored_on_one_node_sorts_on_the_other(cluster: ClusterUnderTest, account: tuple[str, str]) -> None:
    name, password = account
    client = Client(*cluster.address("managesieve", 1))
    assert client.connect(name, password, authmech="PLAIN")
    assert client.putscript("sorting", SCRIPT)
    assert client.setactive("sorting")
    client.logout()
    with smtplib.SMTP(*cluster.address("smtp", 2), timeout=60) as sender:
        sender.sendmail("x@example.net", [name], b"Subject: of lists\r\n\r\nHello\r\n")
    mailboxes = cluster.imap(account, node=2)
    assert mailboxes.select("Lists") == ("OK", [b"1"])
    mailboxes.logout()
