"""EmailSubmission/set (RFC 8621 7.5), with the implicit Email/set that may follow a success."""

from collections.abc import Mapping
from typing import Any

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.methods.email_set import email_set
from posthorn_jmap.methods.submission_get import FINAL, view
from posthorn_jmap.methods.submission_send import submit
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import MethodError, SetError, invalid_arguments, invalid_properties


async def submission_set(context: Context, arguments: Arguments) -> Responses:
    """EmailSubmission/set; where emails are to change on success, the response of that Email/set follows."""
    request, old = await standard.read_set(context, arguments, "onSuccessUpdateEmail", "onSuccessDestroyEmail")
    patches = arguments.mapping("onSuccessUpdateEmail") or {}
    doomed = arguments.strings("onSuccessDestroyEmail") or []
    if not all(isinstance(patch, dict) for patch in patches.values()):
        raise invalid_arguments("onSuccessUpdateEmail maps ids of submissions to patches")
    result = standard.SetResult()
    # The emails of submissions that were created, changed or destroyed, by "#creation id" and by id.
    emails: dict[str, str] = {}

    async def create(key: str, value: dict[str, Any]) -> dict[str, Any]:
        shown = view(await submit(context, value))
        context.created[key] = shown["id"]
        emails[f"#{key}"] = emails[shown["id"]] = shown["emailId"]
        return {name: shown[name] for name in shown if shown[name] != value.get(name)}

    async def update(key: str, value: dict[str, Any]) -> None:
        emails[key] = await _update(context, key, value)

    async def destroy(key: str, _: None) -> None:
        emails[key] = await _email_of(context, key)
        if not await context.storage.submissions.destroy(context.account.id, [ids.from_wire("s", key) or 0]):
            raise SetError("notFound")

    await standard.each(request.create.items(), create, result.created.__setitem__, result.not_created)
    await standard.each(request.update.items(), update, result.updated.__setitem__, result.not_updated)
    gone = [(key, None) for key in request.destroy]
    await standard.each(gone, destroy, lambda key, _: result.destroyed.append(key), result.not_destroyed)
    new = await standard.state(context)
    answered: Responses = [("EmailSubmission/set", result.arguments(context, old, new))]
    succeeded = {*(f"#{key}" for key in result.created), *result.updated, *result.destroyed}
    succeeded |= {made["id"] for made in result.created.values()}
    implicit = _implicit({key: emails[key] for key in succeeded if key in emails}, patches, doomed)
    return [*answered, *await _change_emails(context, implicit)] if implicit else answered


async def _update(context: Context, key: str, value: Mapping[str, Any]) -> str:
    """Only undoStatus may change, and what was sent cannot be taken back."""
    email = await _email_of(context, key)
    unknown = sorted(set(value) - {"undoStatus"})
    if unknown:
        raise invalid_properties("only undoStatus can change", *unknown)
    if value.get("undoStatus", FINAL) == "canceled":
        raise SetError("cannotUnsend", "it has been sent already")
    if value.get("undoStatus", FINAL) != FINAL:
        raise invalid_properties("undoStatus can only become canceled", "undoStatus")
    return email


async def _email_of(context: Context, key: str) -> str:
    number = ids.from_wire("s", key)
    found = await context.storage.submissions.all(context.account.id, [] if number is None else [number])
    if not found:
        raise SetError("notFound")
    return ids.to_wire("e", found[0].message)


def _implicit(emails: Mapping[str, str], patches: Mapping[str, Any], doomed: list[str]) -> dict[str, Any]:
    """The arguments of the Email/set that is to follow; empty when nothing is."""
    update = {emails[key]: patch for key, patch in patches.items() if key in emails}
    destroy = [emails[key] for key in doomed if key in emails]
    found: dict[str, Any] = {}
    if update:
        found["update"] = update
    if destroy:
        found["destroy"] = list(dict.fromkeys(destroy))
    return found


async def _change_emails(context: Context, implicit: dict[str, Any]) -> Responses:
    """The emails were sent: that they cannot be changed now is a response of its own, no failure of the sending."""
    try:
        return await email_set(context, Arguments({"accountId": context.account_id, **implicit}))
    except MethodError as error:
        return [("error", error.arguments())]
