"""Where the same mail is served by JMAP (RFC 9698)."""

from typing import Any

import pytest

from posthorn_imap.app import jmap_session
from posthorn_imap.capabilities import capabilities
from posthorn_node.settings import ListenerSettings

SESSION = "https://jmap.example.org/.well-known/jmap"


def jmap(url: str) -> ListenerSettings:
    return ListenerSettings.model_validate({"protocol": "jmap", "bind": "127.0.0.1:8080", "tls": "none", "url": url})


@pytest.mark.parametrize(
    ("said", "urls", "expected"),
    [
        ("", [], ""),
        ("", [""], ""),
        ("", ["", "https://jmap.example.org"], SESSION),
        ("https://jmap.example.org/", ["https://other.example"], SESSION),
    ],
)
def test_the_url_is_that_of_the_settings_or_of_a_listener(said: str, urls: list[str], expected: str) -> None:
    assert jmap_session(said, [jmap(url) for url in urls]) == expected


def test_it_is_offered_after_login_where_it_is_known() -> None:
    def told(*, logged_in: bool, known: bool) -> list[str]:
        limits = {"append_limit": 1, "messages": 0, "saved_messages": 0}
        return list(capabilities(starttls=False, mechanisms=(), logged_in=logged_in, jmap=known, **limits))

    assert "JMAPACCESS" in told(logged_in=True, known=True)
    assert "JMAPACCESS" not in told(logged_in=True, known=False)
    assert "JMAPACCESS" not in told(logged_in=False, known=True)


@pytest.mark.postgres
async def test_clients_are_told(imap: Any, imap_server: Any) -> None:
    await imap.play("""
        S: * OK ...
        C: 1 GETJMAPACCESS
        S: 1 BAD ...
        C: l LOGIN ann@example.org secret
        S: l OK ...
        C: 2 GETJMAPACCESS
        S: 2 BAD ...
    """)
    knowing = await imap_server(jmap_url=SESSION)
    await knowing.play(
        """
        S: * OK ...
        C: l LOGIN ann@example.org secret
        S: l OK [CAPABILITY ... JMAPACCESS...
        C: 1 GETJMAPACCESS
        S: * JMAPACCESS "{url}"
        S: 1 OK ...
        """,
        url=SESSION,
    )
