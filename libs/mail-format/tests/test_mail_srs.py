"""Sender rewriting: there and back, through several forwarders, forged, too old, of any addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format.srs import ExpiredSender, ForgedSender, SenderRewriting

NOW = 1_800_000_000.0
DAY = 86_400
OURS = SenderRewriting.from_secrets(["the secret of the cluster"])


def test_a_sender_is_rewritten_and_found_again() -> None:
    made = OURS.rewritten("ann@example.net", "example.org", NOW)
    assert made.startswith("SRS0=")
    assert made.endswith("=example.net=ann@example.org")
    assert OURS.original(made, NOW) == "ann@example.net"
    assert OURS.original(made.lower(), NOW + 21 * DAY) == "ann@example.net"
    assert "secret" not in repr(OURS)


def test_what_need_not_be_rewritten_stays() -> None:
    for sender in ("", "ann@example.org", "ann@Example.ORG"):
        assert OURS.rewritten(sender, "example.org", NOW) == sender
    assert SenderRewriting.from_secrets([]).rewritten("ann@example.net", "example.org", NOW) == "ann@example.net"
    assert OURS.rewritten("x" * 300 + "@example.net", "example.org", NOW) == "x" * 300 + "@example.net"


def test_it_ends_after_three_weeks_also_where_the_days_begin_anew() -> None:
    for now in (NOW, 1024.0 * DAY * 20 - 1, 1024.0 * DAY * 20 - 10 * DAY):
        made = OURS.rewritten("ann@example.net", "example.org", now)
        assert OURS.original(made, now + 21 * DAY) == "ann@example.net"
        with pytest.raises(ExpiredSender):
            OURS.original(made, now + 22 * DAY)


def test_a_forged_one_is_not_believed() -> None:
    made = OURS.rewritten("ann@example.net", "example.org", NOW)
    digest = made[5:13]
    other = SenderRewriting.from_secrets(["another secret"]).rewritten("ann@example.net", "example.org", NOW)
    for forged in (made.replace("=ann@", "=eve@"), made.replace("example.net", "example.com"),
                   made.replace(digest, "aaaaaaaa"), other):  # fmt: skip
        with pytest.raises(ForgedSender):
            OURS.original(forged, NOW)
    for plain in ("ann@example.org", "SRS0=x@example.org", "SRS0=@example.org", "srs@example.org", ""):
        assert OURS.original(plain, NOW) is None


def test_a_former_secret_is_still_read() -> None:
    made = OURS.rewritten("ann@example.net", "example.org", NOW)
    both = SenderRewriting.from_secrets(["the new one", "the secret of the cluster"])
    assert both.original(made, NOW) == "ann@example.net"
    with pytest.raises(ForgedSender):
        OURS.original(both.rewritten("ann@example.net", "example.org", NOW), NOW)


def test_bounces_go_back_through_a_chain_of_forwarders() -> None:
    first, second, third = (SenderRewriting.from_secrets([name]) for name in ("first", "second", "third"))
    one = first.rewritten("ann@example.net", "first.example", NOW)
    two = second.rewritten(one, "second.example", NOW)
    assert two.startswith("SRS1=")
    three = third.rewritten(two, "third.example", NOW)
    assert three.count("first.example") == 1  # it does not grow with each
    assert third.original(three, NOW) == one
    assert second.original(two, NOW) == one
    assert first.original(one, NOW) == "ann@example.net"
    with pytest.raises(ForgedSender):
        third.original(two, NOW)


@given(st.text(alphabet="ab=+-.SRS01é", min_size=1, max_size=30), st.sampled_from(["example.net", "bücher.example"]))
def test_any_sender_comes_back_or_stays(local: str, domain: str) -> None:
    sender = f"{local}@{domain}"
    made = OURS.rewritten(sender, "example.org", NOW)
    if made != sender and made.startswith("SRS0"):
        assert OURS.original(made, NOW) == sender
    elif made != sender:
        back = OURS.original(made, NOW)
        assert back is not None
        assert back.upper().startswith("SRS0")


@given(st.text(max_size=60))
def test_any_text_is_an_address_of_ours_or_not(text: str) -> None:
    try:
        OURS.original(text, NOW)
    except (ForgedSender, ExpiredSender):
        assert text.lower().startswith(("srs0", "srs1"))
