"""A milter on Sendmail's libmilter, for Debian's own Python: does what it is asked to, and writes down what it hears.

Words in addresses and fields say what to do: "reject-rcpt@...", "X-Do: body".
Run with a port and the path of the journal.
"""

import sys
from pathlib import Path
from typing import Any

import Milter  # type: ignore[import-not-found]

REFUSALS = {
    "reject": Milter.REJECT,
    "tempfail": Milter.TEMPFAIL,
    "discard": Milter.DISCARD,
    "accept": Milter.ACCEPT,
}


class Own(Milter.Base):  # type: ignore[misc]
    """One session."""

    def __init__(self) -> None:
        self.todo: list[str] = []
        self.octets = 0

    def note(self, *words: Any) -> None:
        with Path(sys.argv[2]).open("a", encoding="utf-8") as journal:
            journal.write(" ".join(map(str, words)) + "\n")

    def decide(self, stage: str, word: str) -> Any:
        """What a word such as "reject-rcpt" asks for at this stage."""
        action, _, where = word.partition("-")
        if where != stage:
            return Milter.CONTINUE
        if action == "words":
            self.setreply("554", "5.7.9", f"Not at {stage}", "and never again")
            return Milter.REJECT
        return REFUSALS.get(action, Milter.CONTINUE)

    def connect(self, name: str, _family: int, address: Any) -> Any:
        self.note("connect", name, address[0] if address else "", self.getsymval("{daemon_name}"))
        return Milter.REJECT if name == "[192.0.2.66]" else Milter.CONTINUE

    def hello(self, name: str) -> Any:
        self.note("helo", name)
        return self.decide("helo", name)

    def envfrom(self, sender: str, *parameters: str) -> Any:
        self.todo, self.octets = [], 0
        self.note("mail", sender, *parameters, bool(self.getsymval("i")), self.getsymval("{auth_authen}") or "")
        return self.decide("mail", sender.strip("<>").partition("@")[0])

    def envrcpt(self, recipient: str, *_parameters: str) -> Any:
        self.note("rcpt", recipient)
        return self.decide("rcpt", recipient.strip("<>").partition("@")[0].partition("+")[2])

    def data(self) -> Any:
        self.note("data")
        return Milter.CONTINUE

    def header(self, name: str, value: str) -> Any:
        if name == "X-Do":
            self.todo = value.split()
        self.note("header", name, value.replace("\n", "|"))
        return Milter.CONTINUE

    def eoh(self) -> Any:
        self.note("eoh")
        return Milter.CONTINUE

    def body(self, piece: bytes) -> Any:
        self.octets += len(piece)
        return Milter.CONTINUE

    def eom(self) -> Any:
        self.note("end", self.octets)
        for word in self.todo:
            if word == "fields":
                self.addheader("X-Added", "at the\n\tend")
                self.addheader("X-First", "1", 0)
                self.chgheader("Subject", 1, "changed")
                self.chgheader("X-Twice", 2, "")
            elif word == "body":
                try:
                    self.replacebody(b"another\r\n")
                    self.replacebody(b"body\r\n")
                except Milter.DisabledAction:
                    self.note("no body")
            elif word == "sender":
                self.chgfrom("<other@example.net>")
            elif word == "recipients":
                self.addrcpt("<bob@example.org>")
                self.delrcpt("<ann@example.org>")
            elif word == "quarantine":
                self.quarantine("smells")
            elif word == "progress":
                self.progress()
            else:
                return self.decide("end", word)
        return Milter.CONTINUE

    def abort(self) -> Any:
        self.note("abort")
        return Milter.CONTINUE

    def close(self) -> Any:
        self.note("close")
        return Milter.CONTINUE


if __name__ == "__main__":
    Milter.factory = Own
    Milter.set_flags(
        Milter.ADDHDRS
        | Milter.CHGHDRS
        | Milter.CHGBODY
        | Milter.ADDRCPT
        | Milter.DELRCPT
        | Milter.CHGFROM
        | Milter.QUARANTINE
    )
    Milter.runmilter("own", f"inet:{sys.argv[1]}@127.0.0.1", 30)
