"""Where a message goes (RFC 5228 4; RFC 3894 :copy; RFC 5490 :create; RFC 8579 :specialuse)."""

from posthorn_mail_format.addresses import parse_mailbox
from posthorn_model.errors import InvalidAddress
from posthorn_sieve.actions import FileInto, Keep, Redirect
from posthorn_sieve.errors import InvalidScript, ScriptFailed
from posthorn_sieve.program import Call, Kind, Scope, Tag, Word
from posthorn_sieve.run import Run
from posthorn_sieve.words import tags
from posthorn_sieve.words.flags import flags_of

MAX_NAME = 1_000


def _keep(run: Run, call: Call) -> None:
    run.act(Keep(flags_of(run, call), run.letter.changed))


def _discard(run: Run, call: Call) -> None:
    run.implicit_keep = False


def _file_into(run: Run, call: Call) -> None:
    name = run.expand(call.arguments[0])
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise ScriptFailed(f"'{name[:50]}' is not the name of a mailbox")
    action = FileInto(
        mailbox=name,
        flags=flags_of(run, call),
        create="create" in call.tags,
        special_use=run.expand(call.tags.get("specialuse", "")).lower(),
        content=run.letter.changed,
    )
    run.act(action, keeps="copy" in call.tags)


def _redirect(run: Run, call: Call) -> None:
    run.act(Redirect(address_of(run.expand(call.arguments[0])), run.letter.changed), keeps="copy" in call.tags)


def address_of(text: str) -> str:
    """The address of `text`. Raises ScriptFailed."""
    try:
        local, domain = parse_mailbox(text.strip(), smtputf8=True)
    except InvalidAddress as error:
        raise ScriptFailed(f"'{text[:100]}' is not an address: {error.public}") from error
    return f"{local}@{domain}"


def _check_redirect(call: Call, scope: Scope) -> None:
    if isinstance(call.arguments[0], str):
        try:
            address_of(call.arguments[0])
        except ScriptFailed as error:
            raise InvalidScript(error.problem) from error


_COPY = {"copy": Tag(needs="copy")}
COMMANDS = {
    "keep": Word(_keep, tags=tags.FLAGS),
    "discard": Word(_discard),
    "redirect": Word(_redirect, (Kind.TEXT,), tags=_COPY, check=_check_redirect),
    "fileinto": Word(
        _file_into,
        (Kind.TEXT,),
        tags=_COPY | tags.FLAGS | {"create": Tag(needs="mailbox"), "specialuse": Tag(Kind.TEXT, needs="special-use")},
        needs=("fileinto",),
    ),
}
TESTS: dict[str, Word] = {}
