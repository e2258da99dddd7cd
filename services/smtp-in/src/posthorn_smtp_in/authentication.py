"""AUTH on submission: when it is offered, the SASL exchange, and the look-up of the login (RFC 4954)."""

from posthorn_model.errors import AuthenticationFailed, TooManyFailures
from posthorn_smtp_in.errors import reply_to
from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.protocol.sasl import Credentials, Exchange, SaslProblem
from posthorn_smtp_in.transaction import Listener
from posthorn_storage import AccountRecord

NOT_OFFERED = reply(503, "5.5.1", "Authentication is not offered here")
NEEDS_TLS = reply(538, "5.7.11", "Encryption required for authentication")
AGAIN = reply(503, "5.5.1", "Already authenticated")
DONE = reply(235, "2.7.0", "Authentication successful")

Step = tuple[Reply, AccountRecord | None]


class Authentication:
    """The logins of one session. `failed` counts those that were refused."""

    def __init__(self, parts: Parts, listener: Listener, address: str) -> None:
        self._parts = parts
        self._listener = listener
        self._address = address
        self._exchange: Exchange | None = None
        self.failed = 0

    def offered(self, *, tls: bool) -> bool:
        """Whether AUTH may be used now: on submission, and not in plain text unless the listener allows it."""
        return self._listener.kind is Kind.SUBMISSION and (tls or self._listener.plaintext_auth)

    async def begin(self, mechanism: str, initial: str | None, *, tls: bool, known: bool) -> Step:
        """Start an exchange; the reply, and the account once it is known. Raises Unavailable."""
        if known:
            return AGAIN, None
        if not self.offered(tls=tls):
            return (NEEDS_TLS if self._listener.kind is Kind.SUBMISSION else NOT_OFFERED), None
        try:
            self._exchange = Exchange(mechanism)
        except SaslProblem as problem:
            return problem.reply, None
        return await self.step(initial.encode() if initial is not None else None)

    async def step(self, response: bytes | None) -> Step:
        """Go on with the client's next response. Raises Unavailable."""
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        try:
            found = exchange.step(response)
        except SaslProblem as problem:
            return problem.reply, None
        if isinstance(found, Reply):
            self._exchange = exchange
            return found, None
        return await self._log_in(found)

    async def _log_in(self, credentials: Credentials) -> Step:
        logins = self._parts.figures.logins
        directory = self._parts.storage.directory
        try:
            account = await directory.authenticate(credentials.login, credentials.password, self._address)
        except (AuthenticationFailed, TooManyFailures) as error:
            self.failed += 1
            outcome = "limited" if isinstance(error, TooManyFailures) else "refused"
            logins.labels(self._listener.name, outcome).inc()
            self._parts.log.warning(
                f"login {outcome}", login=credentials.login, listener=self._listener.name, remote=self._address
            )
            return reply_to(error), None
        logins.labels(self._listener.name, "accepted").inc()
        return DONE, account
