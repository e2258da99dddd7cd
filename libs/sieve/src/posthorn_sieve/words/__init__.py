"""The words of the language, a module for each extension or a few that belong together."""

from posthorn_sieve.words import (
    body,
    control,
    dates,
    delivery,
    duplicates,
    editing,
    environment,
    flags,
    headers,
    inclusion,
    mailboxes,
    mime,
    notifying,
    rejection,
    replacing,
    scores,
    vacations,
    variables,
)

_MODULES = (
    body, control, dates, delivery, duplicates, editing, environment, flags, headers, inclusion, mailboxes, mime,
    notifying, rejection, replacing, scores, vacations, variables,
)  # fmt: skip

COMMANDS = {name: word for module in _MODULES for name, word in module.COMMANDS.items()}
TESTS = {name: word for module in _MODULES for name, word in module.TESTS.items()}
