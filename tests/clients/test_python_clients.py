"""Python's own clients: smtplib with every verb it has, and imaplib with every verb it has."""

import base64
import imaplib
import re
import smtplib
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

import pytest

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
SECONDS = 60


def trusting() -> ssl.SSLContext:
    """The cluster's certificate is its own; whom it names is not what is tested here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def letter(subject: str, sender: str = "x@example.net", recipient: str = "y@example.org") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, recipient, subject
    made.set_content(f"about {subject}\n")
    return made


def subjects(cluster: ClusterUnderTest, account: tuple[str, str]) -> list[str]:
    client = cluster.imap(account, node=2)
    client.select()
    _, data = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    client.logout()
    return [part[1].decode().strip().removeprefix("Subject: ") for part in data if isinstance(part, tuple)]


def test_smtplib_speaks_every_verb(cluster: ClusterUnderTest, account: tuple[str, str]) -> None:
    with smtplib.SMTP(*cluster.address("smtp", 1), timeout=SECONDS) as client:
        assert client.helo("client.example.net")[0] == 250
        assert client.ehlo("client.example.net")[0] == 250
        for extension in ("pipelining", "size", "8bitmime", "smtputf8", "starttls", "enhancedstatuscodes"):
            assert client.has_extn(extension), extension
        assert client.noop()[0] == 250
        assert client.verify(account[0])[0] in (250, 252)
        assert client.expn("staff")[0] in (250, 252, 502, 550)
        assert client.docmd("HELP")[0] in (211, 214)
        assert client.starttls(context=trusting())[0] == 220
        assert client.ehlo("client.example.net")[0] == 250
        assert not client.has_extn("starttls")
        assert client.mail("x@example.net")[0] == 250
        assert client.rcpt(account[0])[0] == 250
        assert client.rset()[0] == 250
        assert client.send_message(letter("after RSET"), "x@example.net", [account[0]]) == {}
        assert client.sendmail("x@example.net", [account[0]], b"Subject: raw\r\n\r\nraw\r\n", ["BODY=8BITMIME"]) == {}
        assert client.quit()[0] == 221
    assert subjects(cluster, account) == ["after RSET", "raw"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("protocol", ["submission", "submissions"])
def test_smtplib_submits(
    cluster: ClusterUnderTest, new_account: Callable[[], tuple[str, str]], protocol: str, mechanism: str
) -> None:
    sender, recipient = new_account(), new_account()
    address = cluster.address(protocol, 1)
    implicit = protocol == "submissions"
    made = smtplib.SMTP_SSL(*address, timeout=SECONDS, context=trusting()) if implicit else smtplib.SMTP(*address)
    with made as client:
        if not implicit:
            client.starttls(context=trusting())
        client.ehlo("client.example.net")
        client.user, client.password = sender
        initial = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[mechanism]
        assert client.auth(mechanism, initial)[0] == 235
        unicode_letter = letter("grüße", sender[0], recipient[0])
        assert client.send_message(unicode_letter, mail_options=["SMTPUTF8"]) == {}
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail(sender[0], ["nobody-here@example.org"], "Subject: no\r\n\r\n")
        client.sendmail(sender[0], [recipient[0]], "Subject: after a refusal\r\n\r\n\r\n")
    assert len(subjects(cluster, recipient)) == 2


def test_smtplib_delivers_by_lmtp(cluster: ClusterUnderTest, new_account: Callable[[], tuple[str, str]]) -> None:
    recipients = [new_account(), new_account()]
    host, port = cluster.address("lmtp", 1)
    with smtplib.LMTP(host, port, timeout=SECONDS) as client:
        client.ehlo_or_helo_if_needed()
        client.mail("x@example.net")
        assert [client.rcpt(name)[0] for name, _ in recipients] == [250, 250]
        assert client.data(b"Subject: by LMTP\r\n\r\nhello\r\n")[0] == 250
        assert client.getreply()[0] == 250, "LMTP answers once for each recipient (RFC 2033 4.2)"
    assert [subjects(cluster, each) for each in recipients] == [["by LMTP"], ["by LMTP"]]


def test_imaplib_speaks_every_verb_of_mailboxes(cluster: ClusterUnderTest, account: tuple[str, str]) -> None:
    client = imaplib.IMAP4(*cluster.address("imap", 1), timeout=SECONDS)
    assert client.starttls(trusting())[0] == "OK"
    assert client.capability()[0] == "OK"
    assert client.login(*account)[0] == "OK"
    assert "IMAP4REV1" in client.capabilities
    assert client.noop()[0] == "OK"
    for work, name in ((client.create, "Lists"), (client.create, "Lists/python"), (client.subscribe, "Lists/python")):
        assert work(name)[0] == "OK"
    assert any(b"Lists/python" in row for row in client.lsub()[1])
    assert client.unsubscribe("Lists/python")[0] == "OK"
    assert not any(b"Lists/python" in row for row in client.lsub()[1])
    assert client.rename("Lists/python", "Lists/snake")[0] == "OK"
    assert [row for row in client.list('""', "Lists/%")[1] if b"Lists/snake" in row]
    assert client.namespace() == ("OK", [b'(("" "/")) (("Other Users/" "/")) NIL'])
    assert client.append("Lists/snake", r"(\Seen)", '"24-Nov-2026 10:00:00 +0100"', letter("one").as_bytes())[0] == "OK"
    assert client.status("Lists/snake", "(MESSAGES UNSEEN UIDNEXT)")[1] == [
        b'"Lists/snake" (MESSAGES 1 UNSEEN 0 UIDNEXT 2)'
    ]
    assert client.delete("Lists/snake")[0] == "OK"
    assert client.append("INBOX", "", "", letter("two").as_bytes())[0] == "OK"
    assert client.select("INBOX", readonly=True) == ("OK", [b"1"])
    assert client.store("1", "+FLAGS", r"(\Seen)")[0] == "NO"
    assert client.logout()[0] == "BYE"


def test_imaplib_speaks_every_verb_of_messages(cluster: ClusterUnderTest, account: tuple[str, str]) -> None:
    client = imaplib.IMAP4_SSL(*cluster.address("imaps", 1), ssl_context=trusting(), timeout=SECONDS)
    assert client.authenticate("PLAIN", lambda _: f"\0{account[0]}\0{account[1]}".encode())[0] == "OK"
    assert client.enable("CONDSTORE")[0] == "OK"
    for number in range(1, 6):
        assert client.append("INBOX", "", "", letter(f"number {number}").as_bytes())[0] == "OK"
    assert client.select("INBOX") == ("OK", [b"5"])
    assert client.response("UIDVALIDITY")[1] != [None]
    assert client.recent()[0] == "OK"
    assert client.check()[0] == "OK"
    assert client.search(None, "SUBJECT", '"number 3"') == ("OK", [b"3"])
    assert client.search("UTF-8", "UNSEEN", "NOT", "SUBJECT", '"number 3"') == ("OK", [b"1 2 4 5"])
    content = client.fetch("2", "(RFC822.SIZE BODY[])")[1][0][1]
    assert b"about number 2" in content
    assert b"\\Seen" in client.fetch("2", "(FLAGS)")[1][0]
    assert b"\\Flagged" in client.store("1,3", "+FLAGS", r"(\Flagged $Work)")[1][0]
    assert client.uid("SEARCH", "KEYWORD", "$Work")[1] == [b"1 3"]
    assert client.copy("1", "Archive")[0] == "OK"
    assert client.uid("COPY", "3", "Archive")[0] == "OK"
    assert client.store("1,3", "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
    assert client.expunge() in (("OK", [b"1", b"2"]), ("OK", [b"3", b"1"]))
    assert client.uid("SEARCH", "ALL")[1] == [b"2 4 5"]
    assert client.select("Archive") == ("OK", [b"2"])
    assert client.store("1", "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert client.close()[0] == "OK"
    assert client.select("Archive") == ("OK", [b"1"])
    assert client.unselect()[0] == "OK"
    assert client.logout()[0] == "BYE"


EXTRAS: dict[str, tuple[str, Callable[[imaplib.IMAP4], object]]] = {
    "sort": ("SORT", lambda client: client.sort("(SUBJECT)", "UTF-8", "ALL")),
    "thread": ("THREAD=REFERENCES", lambda client: client.thread("REFERENCES", "UTF-8", "ALL")),
    "getacl": ("ACL", lambda client: client.getacl("INBOX")),
    "myrights": ("ACL", lambda client: client.myrights("INBOX")),
    "setacl": ("ACL", lambda client: client.setacl("INBOX", "bob@example.org", "lr")),
    "deleteacl": ("ACL", lambda client: client.deleteacl("INBOX", "bob@example.org")),
    "getquota": ("QUOTA", lambda client: client.getquota("account")),
    "getquotaroot": ("QUOTA", lambda client: client.getquotaroot("INBOX")),
    "setquota": ("QUOTASET", lambda client: client.setquota('""', "(STORAGE 100)")),
    "getannotation": ("ANNOTATEMORE", lambda client: client.getannotation("INBOX", '"/comment"', '"value.shared"')),
    "setannotation": (
        "ANNOTATEMORE",
        lambda client: client.setannotation("INBOX", '"/comment"', '("value.shared" "x")'),
    ),
    # The command of RFC 1176, which the capability PARTIAL (RFC 9394) does not mean.
    "partial": ("IMAP2", lambda client: client.partial("1", "BODY[]", "1", "10")),
    "xatom": ("XATOM", lambda client: client.xatom("XATOM")),
}


@pytest.mark.parametrize("verb", EXTRAS)
def test_imaplib_is_told_plainly_what_is_not_offered(
    cluster: ClusterUnderTest, account: tuple[str, str], verb: str
) -> None:
    """A verb of an extension works where its capability is announced, and else gets BAD on a connection that lives."""
    capability, speak = EXTRAS[verb]
    client = cluster.imap(account)
    client.append("INBOX", "", "", letter("one").as_bytes())
    client.select()
    if capability in client.capability()[1][0].decode().upper().split():
        assert speak(client)[0] == "OK"
    else:
        with pytest.raises(imaplib.IMAP4.error, match=re.compile("BAD|unknown", re.IGNORECASE)):
            speak(client)
    assert client.noop()[0] == "OK"
    assert client.logout()[0] == "BYE"


def test_imaplib_may_not_log_in_for_another(cluster: ClusterUnderTest, account: tuple[str, str]) -> None:
    client = imaplib.IMAP4(*cluster.address("imap"), timeout=SECONDS)
    with pytest.raises(imaplib.IMAP4.error, match="CANNOT"):
        client.login_cram_md5(*account)
    assert client.login(*account)[0] == "OK"
    with pytest.raises(imaplib.IMAP4.error):
        client.proxyauth("bob@example.org")
    assert client.noop()[0] == "OK"
    assert client.logout()[0] == "BYE"


def guess(cluster: ClusterUnderTest, node: int, source: str, login: tuple[str, str]) -> int:
    """The code that AUTH is answered with on a connection from a loopback address of its own."""
    response = base64.b64encode("\0".join(("", *login)).encode()).decode()
    with smtplib.SMTP(*cluster.address("submission", node), timeout=SECONDS, source_address=(source, 0)) as client:
        client.ehlo("client.example.net")
        return client.docmd("AUTH", f"PLAIN {response}")[0]


def test_passwords_guessed_on_one_node_are_judged_no_more_on_another(
    cluster: ClusterUnderTest, account: tuple[str, str]
) -> None:
    cluster.imap(account, node=1).logout()
    begun = time.monotonic()
    # From many places at once: one alone is answered later each time.
    with ThreadPoolExecutor(10) as guessers:
        codes = list(guessers.map(lambda n: guess(cluster, 1, f"127.0.9.{n}", (account[0], "a guess")), range(1, 61)))
    # One more is judged for each 72 seconds that this takes.
    assert 50 <= codes.count(535) <= 51 + (time.monotonic() - begun) // 72
    assert codes.count(454) == 60 - codes.count(535)
    assert guess(cluster, 2, "127.0.0.10", account) == 454
    # Where its owner is known the account is open.
    cluster.imap(account, node=2).logout()
