"""SCRAM: the exchange of RFC 7677, what may not be in one, and verifiers."""

import base64
from collections.abc import Mapping

import pytest

from posthorn_sasl import Problem, SaslProblem
from posthorn_sasl.scram import new_nonce, scram
from posthorn_sasl.steps import Challenge, ProofGiven, VerifierWanted
from posthorn_sasl.verifiers import derive, nobody, read_verifier
from posthorn_testkit.scram_client import ScramClient

# RFC 7677 3.
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SALTED = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
PENCIL = derive("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
BINDINGS = {"tls-server-end-point": b"hash of a certificate"}
PLUS = b"p=tls-server-end-point,,"


def nonce() -> bytes:
    return b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"


def test_the_exchange_of_the_rfc() -> None:
    mechanism = scram({}, plus=False, nonce=nonce)
    assert next(mechanism) == Challenge(b"")
    assert mechanism.send(FIRST) == VerifierWanted("user")
    assert mechanism.send(PENCIL) == Challenge(SALTED)
    assert mechanism.send(FINAL) == ProofGiven("user", True)
    assert mechanism.send(True) == Challenge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(StopIteration):
        mechanism.send(b"")


def problem_of(
    first: bytes, final: bytes | None = None, bindings: Mapping[str, bytes] | None = None, *, plus: bool = False
) -> Problem | ProofGiven:
    mechanism = scram(bindings or {}, plus=plus, nonce=nonce)
    next(mechanism)
    try:
        mechanism.send(first)
        mechanism.send(PENCIL)
        found = mechanism.send(final or FINAL)
    except SaslProblem as problem:
        return problem.problem
    assert isinstance(found, ProofGiven)
    return found


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (b"", Problem.SYNTAX),
        (b"n,,n=user", Problem.SYNTAX),
        (b"n,,r=abc,n=user", Problem.SYNTAX),
        (b"n,,m=x,n=user,r=abc", Problem.SYNTAX),
        (b"n,,n=,r=abc", Problem.SYNTAX),
        (b"n,,n=a=b,r=abc", Problem.SYNTAX),
        (b"n,,n=\xff,r=abc", Problem.SYNTAX),
        (b"n,,n=user,r=", Problem.SYNTAX),
        (b"n,,n=user,r=a b", Problem.SYNTAX),
        (b"n,,n=user,r=" + b"a" * 300, Problem.SYNTAX),
        (b"x,,n=user,r=abc", Problem.SYNTAX),
        (b"p,,n=user,r=abc", Problem.SYNTAX),
        (b"n,,n=" + b"u" * 1025 + b",r=abc", Problem.TOO_LONG),
        (b"n,,n=user,r=abc," + b"x" * 5000, Problem.TOO_LONG),
        (b"n,a=other,n=user,r=abc", Problem.IDENTITY),
        (b"p=tls-unique,,n=user,r=abc", Problem.BINDING),
    ],
)
def test_a_first_message_that_is_none(first: bytes, problem: Problem) -> None:
    assert problem_of(first) is problem


@pytest.mark.parametrize(
    ("final", "problem"),
    [
        (b"x", Problem.SYNTAX),
        (FINAL.replace(b"k0,p", b"k1,p"), Problem.SYNTAX),
        (FINAL.replace(b"c=biws", b"c=eSws"), Problem.BINDING),
        (FINAL.replace(b"c=biws", b"c=!"), Problem.SYNTAX),
        (FINAL[:-4] + b"!!!!", Problem.SYNTAX),
        (FINAL[:-8], ProofGiven("user", False)),
        (FINAL.replace(b"p=d", b"p=e"), ProofGiven("user", False)),
    ],
)
def test_a_final_message_that_is_wrong(final: bytes, problem: Problem | ProofGiven) -> None:
    assert problem_of(FIRST, final) == problem


def test_a_name_with_a_comma_and_an_equals_sign_and_another_with_itself_as_identity() -> None:
    mechanism = scram({}, plus=False)
    next(mechanism)
    assert mechanism.send(b"n,a=a=2Cb=3D,n=a=2Cb=3D,r=x") == VerifierWanted("a,b=")
    mechanism = scram({}, plus=False)
    next(mechanism)
    assert mechanism.send(b"n,a=,n=ann,r=x") == VerifierWanted("ann")


@pytest.mark.parametrize(
    ("gs2", "binding", "found"),
    [
        (PLUS, b"hash of a certificate", ProofGiven("user", True)),
        (PLUS, b"hash of another", Problem.BINDING),
        (b"p=tls-exporter,,", b"", Problem.BINDING),
        (b"n,,", b"", Problem.BINDING),
    ],
)
def test_channel_binding(gs2: bytes, binding: bytes, found: Problem | ProofGiven) -> None:
    client = ScramClient("user", "pencil", gs2, binding)
    assert problem_of(client.first(), client.final(SALTED), BINDINGS, plus=True) == found


def test_a_client_that_was_not_shown_that_binding_is_offered() -> None:
    """It says that it could bind itself: somebody took -PLUS out of the list (RFC 5802 6)."""
    client = ScramClient("user", "pencil", b"y,,")
    assert problem_of(client.first(), client.final(SALTED), BINDINGS) is Problem.BINDING
    assert problem_of(client.first(), client.final(SALTED)) == ProofGiven("user", True)


def test_a_verifier_is_read_as_it_was_written() -> None:
    found = derive("pencil")
    assert read_verifier(found.text) == found
    assert found.salt != derive("pencil").salt
    assert "key" not in repr(found)


@pytest.mark.parametrize(
    "text", ["", "x", PENCIL.text.replace("256", "1"), PENCIL.text.replace("4096", "0"), PENCIL.text.replace("=", "!")]
)
def test_what_is_no_verifier(text: str) -> None:
    with pytest.raises(ValueError):
        read_verifier(text)


def test_nobody_has_the_same_salt_each_time_and_no_password() -> None:
    found = nobody(b"secret", "ann@example.org")
    assert found == nobody(b"secret", "ann@example.org")
    assert found.salt != nobody(b"secret", "bob@example.org").salt
    assert found.salt != nobody(b"other", "ann@example.org").salt
    assert (len(found.salt), found.iterations) == (len(derive("x").salt), derive("x").iterations)


def test_a_nonce_is_fit_to_be_one() -> None:
    assert b"," not in new_nonce()
    assert new_nonce() != new_nonce()
