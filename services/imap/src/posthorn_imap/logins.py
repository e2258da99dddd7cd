"""Who may log in here: judged by the directory, which slows failures, and with so many sessions per account."""

from structlog.typing import FilteringBoundLogger

from posthorn_imap.figures import Figures
from posthorn_model.errors import AuthenticationFailed, Overloaded, TooManyFailures
from posthorn_model.ids import AccountId
from posthorn_sasl import Challenge, Exchange, Login, Terms
from posthorn_storage.directory import AccountRecord, Directory


class Logins:
    """Shared by all sessions of a process. `service` is "imap", "pop3" or "sieve", as app passwords name it."""

    def __init__(self, directory: Directory, *, per_account: int) -> None:
        self._directory = directory
        self._per_account = per_account
        self._sessions: dict[AccountId, int] = {}

    def limit(self, per_account: int) -> None:
        """So many sessions of one account from now on."""
        self._per_account = per_account

    def exchange(self, mechanism: str, terms: Terms, address: str, service: str = "") -> Login[AccountRecord]:
        """A login by SASL, to be led on by `step`. Raises SaslProblem for a mechanism that is not offered."""
        return Login(Exchange(mechanism, terms), self._directory.claims(address, service))

    async def step(self, login: Login[AccountRecord], response: bytes | None) -> Challenge | AccountRecord:
        """The client's next response (base64); as of log_in, and raises SaslProblem too."""
        found = await login.step(response)
        if isinstance(found, AccountRecord):
            self._enter(found.id)
        return found

    async def log_in(self, user: bytes, password: bytes, address: str, service: str = "") -> AccountRecord:
        """Judge a login from an address; a failure is answered late. Call `log_out` when the session ends.

        Raises AuthenticationFailed, TooManyFailures, Overloaded (too many sessions of the account), Unavailable.
        """
        account = await self._directory.authenticate(_text(user), _text(password), address, service)
        self._enter(account.id)
        return account

    def _enter(self, account: AccountId) -> None:
        open_sessions = self._sessions.get(account, 0)
        if open_sessions >= self._per_account:
            raise Overloaded("too many connections of this account")
        self._sessions[account] = open_sessions + 1

    def log_out(self, account: AccountId) -> None:
        left = self._sessions.get(account, 0) - 1
        if left > 0:
            self._sessions[account] = left
        else:
            self._sessions.pop(account, None)


def tell_refusal(
    figures: Figures,
    log: FilteringBoundLogger,
    listener: str,
    claimed: str,
    error: AuthenticationFailed | TooManyFailures,
) -> None:
    """Count and log a login that was refused. `claimed`: by what name, which may be anything."""
    outcome = "limited" if isinstance(error, TooManyFailures) else "refused"
    figures.logins.labels(listener, outcome).inc()
    log.warning(f"login {outcome}", login=claimed[:256])


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed from None
