"""Records that ask for TLS reports (RFC 8460 3), and those that only look like it."""

import pytest

from posthorn_mail_auth.tls_reporting import MAX_URIS, reports_to

FIRST = tuple(f"mailto:a{n}@b" for n in range(MAX_URIS))


@pytest.mark.parametrize(
    ("texts", "uris"),
    [
        ([b"v=TLSRPTv1; rua=mailto:a@b.example"], ("mailto:a@b.example",)),
        (
            [b"v=spf1", b"v=TLSRPTv1;rua=https://r.example/v1 , MAILTO:a@b.example"],
            ("https://r.example/v1", "MAILTO:a@b.example"),
        ),
        ([b"v=TLSRPTv1; rua=http://r.example,ftp:x,mailto:a@b.example,mailto:a@b.example"], ("mailto:a@b.example",)),
        ([b"v=TLSRPTv1; rua=" + b",".join(b"mailto:a%d@b" % n for n in range(9))], FIRST),
        ([b"v=TLSRPTv1; rua=mailto:" + b"a" * 2000], ()),
        ([b"v=TLSRPTv1; rua=mailto:a@b", b"v=TLSRPTv1; rua=mailto:c@d"], ()),
        ([b"v=TLSRPTv2; rua=mailto:a@b"], ()),
        ([b"v=TLSRPTv1;"], ()),
        ([b"v=TLSRPTv1; rua"], ()),
        ([b"v=TLSRPTv1; rua=mailto:\xff"], ()),
        ([], ()),
    ],
)  # fmt: skip
def test_who_gets_reports(texts: list[bytes], uris: tuple[str, ...]) -> None:
    assert reports_to(texts) == uris
