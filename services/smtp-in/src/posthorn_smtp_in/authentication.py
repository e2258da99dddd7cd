"""AUTH on submission: when it is offered, and the exchange in the words of SMTP (RFC 4954)."""

from collections.abc import Sequence

from posthorn_model.errors import AuthenticationFailed, TooManyFailures
from posthorn_node.stream.connection import Connection
from posthorn_sasl import Challenge, Exchange, Login, SaslProblem, Terms, offered
from posthorn_sasl.exchange import encoded
from posthorn_smtp_in.errors import reply_to, reply_to_exchange
from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.transaction import Listener
from posthorn_storage import AccountRecord

NOT_OFFERED = reply(503, "5.5.1", "Authentication is not offered here")
NEEDS_TLS = reply(538, "5.7.11", "Encryption required for authentication")
AGAIN = reply(503, "5.5.1", "Already authenticated")
DONE = reply(235, "2.7.0", "Authentication successful")

SERVICE = "smtp"
"""As app passwords name it."""

Step = tuple[Reply, AccountRecord | None]


class Authentication:
    """The logins of one session. `failed` counts those that were refused."""

    def __init__(self, parts: Parts, listener: Listener, connection: Connection, address: str) -> None:
        self._parts = parts
        self._listener = listener
        self._connection = connection
        self._address = address
        self._login: Login[AccountRecord] | None = None
        self.failed = 0

    @property
    def mechanisms(self) -> Sequence[str]:
        """What may be used now: on submission alone, and not in plain text unless the listener allows it."""
        if self._listener.kind is not Kind.SUBMISSION:
            return ()
        if not self._connection.encrypted and not self._listener.plaintext_auth:
            return ()
        return offered(self._terms())

    async def begin(self, mechanism: str, initial: str | None, *, known: bool) -> Step:
        """Start an exchange; the reply, and the account once it is known. Raises Unavailable."""
        if known:
            return AGAIN, None
        if not self.mechanisms:
            return (NEEDS_TLS if self._listener.kind is Kind.SUBMISSION else NOT_OFFERED), None
        try:
            exchange = Exchange(mechanism, self._terms())
        except SaslProblem as problem:
            return reply_to_exchange(problem.problem), None
        self._login = Login(exchange, self._parts.storage.directory.claims(self._address, SERVICE))
        return await self.step(initial.encode() if initial is not None else None)

    async def step(self, response: bytes | None) -> Step:
        """Go on with the client's next response. Raises Unavailable."""
        login, self._login = self._login, None
        assert login is not None
        try:
            found = await login.step(response)
        except SaslProblem as problem:
            return reply_to_exchange(problem.problem), None
        except (AuthenticationFailed, TooManyFailures) as error:
            return self._refused(login.claimed, error), None
        if isinstance(found, Challenge):
            self._login = login
            return reply(334, "", encoded(found)), None
        self._parts.figures.logins.labels(self._listener.name, "accepted").inc()
        return DONE, found

    def _terms(self) -> Terms:
        return Terms(self._connection.bindings, tokens=self._parts.storage.directory.takes_tokens)

    def _refused(self, claimed: str, error: AuthenticationFailed | TooManyFailures) -> Reply:
        self.failed += 1
        outcome = "limited" if isinstance(error, TooManyFailures) else "refused"
        self._parts.figures.logins.labels(self._listener.name, outcome).inc()
        self._parts.log.warning(
            f"login {outcome}", login=claimed[:256], listener=self._listener.name, remote=self._address
        )
        return reply_to(error)
