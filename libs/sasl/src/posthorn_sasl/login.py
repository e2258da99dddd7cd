"""A login: the exchange with the client, and whoever judges what it claims. All waiting is for the latter."""

from typing import Generic, Protocol, TypeVar

from posthorn_model.errors import AuthenticationFailed
from posthorn_sasl.exchange import Exchange
from posthorn_sasl.steps import Challenge, Claim, PasswordGiven, ProofGiven, TokenGiven, VerifierWanted
from posthorn_sasl.verifiers import Verifier

A_co = TypeVar("A_co", covariant=True)
A = TypeVar("A")


class Accounts(Protocol[A_co]):
    """Who judges claims that come from one client. All raise Unavailable, Overloaded, TooManyFailures.

    The `by_` methods return whose claim it was, or raise AuthenticationFailed: after the same time and in the same
    words whether there is such an account or not.
    """

    async def verifier(self, login: str) -> Verifier:
        """The verifier of this login, or one of nobody that looks like it."""
        ...

    async def by_password(self, login: str, password: str) -> A_co: ...

    async def by_proof(self, login: str, *, fits: bool) -> A_co: ...

    async def by_token(self, login: str, token: str) -> A_co:
        """`login` may be "": whoever the token says it is."""
        ...


class Login(Generic[A]):
    """One login by SASL. Call `step` with each response until it returns the account, or raises."""

    def __init__(self, exchange: Exchange, accounts: Accounts[A]) -> None:
        self._exchange = exchange
        self._accounts = accounts
        self._account: A | None = None
        self._refusal: AuthenticationFailed | None = None
        self.claimed = ""
        """The name the client goes by, once it has said it: for logs."""

    async def step(self, line: bytes | None) -> Challenge | A:
        """The client's response in base64, None for no initial response; returns what to send, or whose login it is.

        Raises SaslProblem, and what Accounts raises.
        """
        step = self._exchange.respond(line)
        while step is not None and not isinstance(step, Challenge):
            if isinstance(step, VerifierWanted):
                self.claimed = step.login
                step = self._exchange.answer(await self._accounts.verifier(step.login))
            else:
                step = self._exchange.answer(await self._is_true(step))
        if step is not None:
            return step
        if self._account is None:
            raise self._refusal or AuthenticationFailed(login=self.claimed[:100])
        return self._account

    async def _is_true(self, claim: Claim) -> bool:
        self.claimed = claim.login
        try:
            match claim:
                case PasswordGiven(login, password):
                    self._account = await self._accounts.by_password(login, password)
                case ProofGiven(login, fits):
                    self._account = await self._accounts.by_proof(login, fits=fits)
                case TokenGiven(login, token):
                    self._account = await self._accounts.by_token(login, token)
        except AuthenticationFailed as refusal:
            self._refusal = refusal
            return False
        return True
