"""Judges a settings file against its models and finds all mistakes at once; it repairs nothing."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from posthorn_model.cluster import SERVICES
from posthorn_node.settings.blob_stores import BLOB_KINDS
from posthorn_node.settings.file import SettingsFile
from posthorn_node.settings.keys import keys_at, known_keys
from posthorn_node.settings.node import NodeSettings
from posthorn_node.settings.problems import KeyPath, Problem, SettingsError
from posthorn_node.settings.stores import COORDINATOR_KINDS
from posthorn_node.settings.values import Section, one_or_more, parse_bind

MAX_PROBLEMS = 200
LOOKUP_KINDS = ("postgresql", "redis", "memory")
STORE_KINDS = frozenset({"postgresql", *COORDINATOR_KINDS, *LOOKUP_KINDS, *BLOB_KINDS})
_REASONS = {
    "missing": "is missing",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "dict_type": "must be a table",
    "extra_forbidden": "is not a known key",
    "union_tag_not_found": "is missing: it says what kind of store this is",
}


def validate(file: SettingsFile, models: Mapping[str, type[Section]]) -> dict[str, Any]:
    """Read each model from its table ("" is the shared part, "imap" a service's own) and return them by that name.

    A service's table that is left out counts as empty; tables of services that are not asked for are left unread.
    Raises SettingsError with every problem, also those that reading the file found.
    """
    problems = list(file.problems)
    found: dict[str, Any] = {}
    for name, model in models.items():
        where: KeyPath = (name,) if name else ()
        data = file.data.get(name, {}) if name else _shared(file.data)
        try:
            found[name] = model.model_validate(data, by_alias=True, by_name=False)
        except ValidationError as error:
            problems.extend(_told(file, where, model, error))
    problems.extend(_crossed(file))
    if problems:
        unique = {(problem.file, problem.line, problem.key): problem for problem in reversed(problems)}
        ordered = sorted(unique.values(), key=lambda problem: (problem.file, problem.line, problem.key))
        raise SettingsError(ordered[:MAX_PROBLEMS])
    return found


_KAFKA_ONLY = ("topic", "group_id", "topics", "sasl")


def notices(settings: NodeSettings) -> list[str]:
    """What the file says and nothing uses: worth a line in the log at start, no mistake."""
    found = []
    for name, store in settings.store.items():
        if store.type == "redis" and name not in (settings.storage.lookup, settings.cluster.coordinator):
            reason = "neither storage.lookup nor cluster.coordinator names it"
            found.append(f'store "{name}" of type redis is not used: {reason}')
        elif store.type == "memory" and settings.storage.lookup != name:
            found.append(f'store "{name}" of type memory is not used: storage.lookup does not name it')
        elif store.type == "memory":
            found.append(f'store "{name}": each process counts for itself, what one sees the others do not')
        elif store.type in ("kafka", "nats") and settings.cluster.coordinator != name:
            found.append(f'store "{name}" of type {store.type} is not used: cluster.coordinator does not name it')
    for key in _KAFKA_ONLY:
        if settings.cluster.type != "kafka" and key in settings.cluster.model_fields_set:
            name = f"cluster.{key.replace('_', '-')}"
            found.append(f'{name} is not used: it belongs to cluster.type = "kafka", or into the store of type kafka')
    roles = settings.cluster.roles
    if roles.acme.renew and not settings.acme:
        found.append("cluster.roles.acme.renew is not used: there is no [acme] to order certificates of")
    if roles.metrics.push and not settings.metrics.push.url:
        found.append("cluster.roles.metrics.push is not used: metrics.push.url does not say where to push")
    if roles.reports.send and not (settings.reports.dmarc.enable or settings.reports.tls.enable):
        found.append("cluster.roles.reports.send is not used: neither reports.dmarc nor reports.tls is enabled")
    if roles.push.send and not settings.sealing_secrets():
        found.append("cluster.roles.push.send is not used: set certificates.secret, under which keys are sealed")
    if settings.acme and not settings.sealing_secrets():
        found.append("nothing is ordered by acme: set certificates.secret, under which the keys are sealed")
    if settings.dkim and not settings.sealing_secrets():
        found.append("no DKIM key is made: set certificates.secret, under which the keys are sealed")
    return found


def _shared(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in SERVICES}


def _told(file: SettingsFile, where: KeyPath, model: type[Section], error: ValidationError) -> Iterator[Problem]:
    """pydantic's errors as problems; its texts never hold the input, so no secret can leak."""
    for detail in error.errors(include_url=False, include_input=False):
        if (
            detail["type"] == "default_factory_not_called"
        ):  # a default that needs another key, which has its own problem
            continue
        path, model_path = _located(file.data, where, detail)
        if detail["type"] == "extra_forbidden":
            key = str(path[-1])
            yield file.problem(path, _REASONS["extra_forbidden"], _nearest_key(key, model, model_path))
            continue
        context = detail.get("ctx", {})
        if detail["type"] == "union_tag_invalid":
            tags = [tag.strip(" '") for tag in str(context.get("expected_tags", "")).split(",")]
            reason = f"is no known kind; known are {', '.join(sorted(tags))}"
            yield file.problem((*path, "type"), reason, _nearest(str(context.get("tag", "")), tags))
            continue
        if detail["type"] == "union_tag_not_found":
            path = (*path, "type")
        elif context.get("key"):
            path = (*path, context["key"])
        reason = _REASONS.get(detail["type"], detail["msg"].replace("Input should", "should", 1))
        yield file.problem(path, reason, _nearest_value(file, path, detail))


def _located(data: Any, where: KeyPath, detail: ErrorDetails) -> tuple[KeyPath, KeyPath]:
    """The path in the file and the path in the model: pydantic puts tags of unions between keys."""
    node = data
    for part in where:
        node = node.get(part, {}) if isinstance(node, dict) else {}
    path = where
    last = len(detail["loc"]) - 1
    for number, part in enumerate(detail["loc"]):
        below = _below(node, part)
        if below is None and not (isinstance(node, dict) and number == last and detail["type"] == "missing"):
            continue
        node = below
        path = (*path, part)
    return path, detail["loc"][:-1]


def _below(node: Any, part: str | int) -> Any:
    if isinstance(node, dict):
        return node.get(part)
    return node[part] if isinstance(node, list) and isinstance(part, int) and part < len(node) else None


def _nearest(text: str, choices: list[str]) -> str:
    folded = {choice.lower().replace("_", "-"): choice for choice in choices}
    close = difflib.get_close_matches(text.lower().replace("_", "-"), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def _nearest_key(key: str, model: type[Section], model_path: KeyPath) -> str:
    """The key of the same table that looks most alike, or the full path of the same key in another table."""
    choices = keys_at(model, model_path)
    if not model_path and model is NodeSettings:
        choices = [*choices, *SERVICES]
    if near := _nearest(key, choices):
        return near
    elsewhere = [known for known in known_keys(model) if known.rpartition(".")[2] == key.replace("_", "-")]
    return elsewhere[0] if len(elsewhere) == 1 else ""


def _nearest_value(file: SettingsFile, path: KeyPath, detail: ErrorDetails) -> str:
    if detail["type"] != "literal_error":
        return ""
    node: Any = file.data
    for part in path:
        node = _below(node, part)
    allowed = str(detail.get("ctx", {}).get("expected", "")).replace(" or ", ",").split(",")
    near = _nearest(node, [choice.strip().strip("'") for choice in allowed]) if isinstance(node, str) else ""
    return f'"{near}"' if near else ""


def _crossed(file: SettingsFile) -> Iterator[Problem]:
    """What no single table can see: names of stores, and two listeners on one address.

    It looks at the raw file, so that it finds them also while other tables are wrong.
    """
    stores = _tables(file.data, "store")
    kinds = {name: str(table.get("type")) for name, table in stores.items()}
    storage = _tables({"storage": file.data.get("storage")}, None).get("storage", {})
    wanted = {"data": ("postgresql",), "blob": BLOB_KINDS, "fts": ("postgresql",), "lookup": LOOKUP_KINDS}
    defaults = {"data": "postgres", "blob": "fs"}
    if "storage" in file.data:
        for key, allowed in wanted.items():
            names = one_or_more(storage.get(key, defaults.get(key, "")))
            for name in names if isinstance(names, list) else []:
                if isinstance(name, str) and name:
                    yield from _store_named(file, ("storage", key), name, kinds, allowed)
    for name, shard in _tables(storage, "shards").items():
        yield from _store_named(file, ("storage", "shards", name), name, kinds, ("postgresql",))
        own = one_or_more(shard.get("blob", ()))
        for blob in own if isinstance(own, list) else []:
            if isinstance(blob, str):
                yield from _store_named(file, ("storage", "shards", name, "blob"), blob, kinds, BLOB_KINDS)
        if own and name == storage.get("data", defaults["data"]):
            reason = "the blobs of the data store go where storage.blob says"
            yield file.problem(("storage", "shards", name, "blob"), reason)
    homes = [storage.get("data", defaults["data"]), *_tables(storage, "shards")]
    regions = {str(stores[name].get("region", "")) for name in homes if isinstance(name, str) and name in stores}
    residency = storage.get("residency")
    for region in residency if isinstance(residency, dict) else ():
        if region not in regions:
            reason = "neither the data store nor a shard stands in that region"
            yield file.problem(("storage", "residency", region), reason, _nearest(region, sorted(regions - {""})))
    tiers = storage.get("tiers")
    cold = tiers.get("cold") if isinstance(tiers, dict) else None
    if isinstance(cold, str) and cold:
        yield from _store_named(file, ("storage", "tiers", "cold"), cold, kinds, BLOB_KINDS)
        if cold in (one_or_more(storage.get("blob", defaults["blob"])) or ()):
            yield file.problem(("storage", "tiers", "cold"), "new blobs go there too: storage.blob must not name it")
    lookup, data = storage.get("lookup", ""), storage.get("data", "postgres")
    if isinstance(lookup, str) and lookup != data and kinds.get(lookup) == "postgresql":
        reason = f'look-ups in PostgreSQL are kept in the data store, which is "{data}"'
        yield file.problem(("storage", "lookup"), reason)
    directory = storage.get("directory", "internal")
    if isinstance(directory, str) and directory != "internal":
        yield from _store_named(file, ("storage", "directory"), directory, kinds, ("postgresql",))
    cluster = _tables({"cluster": file.data.get("cluster")}, None).get("cluster", {})
    coordinator = cluster.get("coordinator", "peer-to-peer")
    if isinstance(coordinator, str) and coordinator != "peer-to-peer":
        yield from _store_named(
            file, ("cluster", "coordinator"), coordinator, {**kinds, "peer-to-peer": ""}, COORDINATOR_KINDS
        )
    yield from _doubled(file, _tables(_tables(file.data, None).get("server", {}), "listener"))


def _tables(data: Any, key: str | None) -> dict[str, dict[str, Any]]:
    """The tables below `key` (or at the top) of raw data that may hold anything."""
    node = data if key is None else data.get(key) if isinstance(data, dict) else None
    if not isinstance(node, dict):
        return {}
    return {name: cast(dict[str, Any], table) for name, table in node.items() if isinstance(table, dict)}


def _store_named(
    file: SettingsFile, path: KeyPath, name: str, kinds: Mapping[str, str], allowed: tuple[str, ...]
) -> Iterator[Problem]:
    if name not in kinds:
        yield file.problem(path, f'there is no [store."{name}"]', _nearest(name, list(kinds)))
    elif kinds[name] in STORE_KINDS and kinds[name] not in allowed:
        yield file.problem(path, f'store "{name}" is of type {kinds[name]}; this needs {" or ".join(allowed)}')


def _doubled(file: SettingsFile, listeners: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    owners: dict[tuple[str, int], str] = {}
    for name, listener in listeners.items():
        binds = one_or_more(listener.get("bind"))
        for bind in binds if isinstance(binds, list) else []:
            try:
                address = parse_bind(bind) if isinstance(bind, str) else ("", 0)
            except ValueError:
                continue
            if address[1] and owners.setdefault(address, name) != name:
                reason = f'{bind} is already taken by the listener "{owners[address]}"'
                yield file.problem(("server", "listener", name, "bind"), reason)
