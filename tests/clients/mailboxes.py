"""What the tests of real clients put into mailboxes, and what they look at afterwards, by imaplib."""

from dataclasses import dataclass

from posthorn_testkit.cluster import ClusterUnderTest

Account = tuple[str, str]


def letter(word: str) -> bytes:
    """A small message about a word, which is its subject."""
    return (
        f"From: x@example.net\r\nSubject: {word}\r\nMessage-ID: <{word}@example.net>\r\n\r\nabout {word}\r\n".encode()
    )


def subject_of(octets: bytes) -> str:
    """The subject of a message, with any line ends."""
    line = next(line for line in octets.splitlines() if line.startswith(b"Subject: "))
    return line.removeprefix(b"Subject: ").decode()


@dataclass(frozen=True, slots=True)
class Seen:
    """An account as one node shows it."""

    cluster: ClusterUnderTest
    account: Account
    node: int

    def flags(self, mailbox: str) -> dict[str, set[str]]:
        """The flags of each message by its subject, without \\Recent."""
        client = self.cluster.imap(self.account, self.node)
        assert client.select(mailbox)[0] == "OK"
        _, data = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        client.logout()
        found = {}
        for part in data:
            if isinstance(part, tuple):
                flags = part[0].decode().partition("FLAGS (")[2].partition(")")[0].split()
                found[subject_of(part[1])] = set(flags) - {"\\Recent"}
        return found

    def append(self, mailbox: str, *words: str, flags: str = "") -> None:
        """A letter about each word."""
        client = self.cluster.imap(self.account, self.node)
        for word in words:
            assert client.append(mailbox, flags, "", letter(word))[0] == "OK"
        client.logout()

    def store(self, mailbox: str, subject: str, change: str, flags: str) -> None:
        """Change the flags of the one message of this subject; with \\Deleted it is expunged."""
        client = self.cluster.imap(self.account, self.node)
        client.select(mailbox)
        (uid,) = client.uid("SEARCH", "SUBJECT", f'"{subject}"')[1][0].split()
        assert client.uid("STORE", uid.decode(), change, flags)[0] == "OK"
        if "\\Deleted" in flags:
            client.expunge()
        client.logout()
