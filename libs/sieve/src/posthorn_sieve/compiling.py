"""A tree of words to a program: what each word takes is checked against its signature and what `require` names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from posthorn_sieve import patterns
from posthorn_sieve.capabilities import EXTENSIONS, IMPLIED
from posthorn_sieve.comparators import BY_NAME, Comparator
from posthorn_sieve.errors import InvalidScript, ScriptFailed
from posthorn_sieve.limits import DEFAULT, Limits
from posthorn_sieve.program import Call, Kind, Match, MatchType, Scope, Script, Tag, Tests, Value, Word
from posthorn_sieve.syntax import Argument, Node, Number, Strings, parse
from posthorn_sieve.syntax import Tag as WrittenTag
from posthorn_sieve.texts import Text, decode_characters, template
from posthorn_sieve.words import COMMANDS, TESTS

_RELATIONS = frozenset({"gt", "ge", "lt", "le", "eq", "ne"})
_SUBSTRING = (MatchType.CONTAINS, MatchType.MATCHES, MatchType.REGEX)


def compile_script(script: bytes, limits: Limits = DEFAULT) -> Script:
    """Return the program of a script. Raises InvalidScript, which says where and why."""
    nodes = parse(script, limits)
    scope = Scope(limits)
    rest = _requirements(nodes, scope)
    block = _block(nodes[rest:], scope)
    return Script(block, frozenset(scope.extensions), frozenset(scope.includes), len(script))


def _requirements(nodes: Sequence[Node], scope: Scope) -> int:
    """Take what `require` asks for; returns how many commands that were (RFC 5228 3.2)."""
    for index, node in enumerate(nodes):
        if node.name != "require":
            return index
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], Strings) or node.tests:
            raise _at(node, "require takes one list of extensions")
        if node.block is not None:
            raise _at(node, "require has no block")
        for name in node.arguments[0].values:
            if name not in EXTENSIONS:
                raise InvalidScript(f"unknown extension '{name[:100]}'", node.line, node.column)
            scope.extensions |= {name, *IMPLIED.get(name, ())}
    return len(nodes)


def _at(node: Node | Argument, problem: str) -> InvalidScript:
    return InvalidScript(problem, node.line, node.column)


def _block(nodes: Sequence[Node], scope: Scope) -> tuple[Call, ...]:
    calls: list[Call] = []
    before = ""
    for node in nodes:
        if node.name in ("elsif", "else") and before not in ("if", "elsif"):
            raise _at(node, f"'{node.name}' does not follow an 'if' or 'elsif'")
        if node.name == "require":
            raise _at(node, "require must stand before all other commands")
        calls.append(_call(node, COMMANDS, "command", scope))
        before = node.name
    return tuple(calls)


def _call(node: Node, words: Mapping[str, Word], what: str, scope: Scope) -> Call:
    """A word with its arguments; what is wrong waits for the run where the script asks for `ihave` (RFC 5463 4)."""
    if "ihave" not in scope.extensions or (node.name in words and not words[node.name].needs):
        return _checked(node, words, what, scope)
    try:
        return _checked(node, words, what, scope)
    except InvalidScript as error:
        if "extension" not in error.problem:
            raise
        return _failing(node, error)


def _failing(node: Node, error: InvalidScript) -> Call:
    def fail(*_: object) -> None:
        raise ScriptFailed(error.problem, error.line, error.column)

    return Call(node.name, node.line, node.column, Word(fail), {}, (), Match())


def _checked(node: Node, words: Mapping[str, Word], what: str, scope: Scope) -> Call:
    word = words.get(node.name)
    if word is None:
        other = "test" if what == "command" else "command"
        if node.name in (TESTS if what == "command" else COMMANDS):
            raise _at(node, f"'{node.name}' is a {other}, not a {what}")
        raise _at(node, f"unknown {what} '{node.name}' (no extension has it)")
    missing = [name for name in word.also if name not in scope.extensions]
    if word.needs and not scope.extensions.intersection(word.needs):
        missing.insert(0, word.needs[0])
    if missing:
        raise _at(node, f"'{node.name}' needs the extension '{missing[0]}': require \"{missing[0]}\"")
    tags, rest = _tags(node, word, scope)
    call = Call(
        name=node.name,
        line=node.line,
        column=node.column,
        word=word,
        tags=tags,
        arguments=_positional(node, word, rest, scope),
        match=_match(node, tags, scope),
        tests=_tests(node, word, scope),
    )
    _constants(node, call, scope)
    return replace(call, block=_body(node, call, scope))


def _tests(node: Node, word: Word, scope: Scope) -> tuple[Call, ...]:
    if word.tests is Tests.NONE and node.tests:
        raise _at(node.tests[0], f"'{node.name}' takes no test")
    if word.tests is Tests.ONE and (node.several or len(node.tests) != 1):
        raise _at(node, f"'{node.name}' takes one test")
    if word.tests is Tests.SEVERAL and not node.several:
        raise _at(node, f"'{node.name}' takes tests in parentheses")
    return tuple(_call(test, TESTS, "test", scope) for test in node.tests)


def _body(node: Node, call: Call, scope: Scope) -> tuple[Call, ...]:
    if call.word.block is (node.block is None):
        raise _at(node, f"'{node.name}' {'needs a block' if call.word.block else 'takes no block'}")
    if node.block is None:
        return ()
    if node.name != "foreverypart":
        return _block(node.block, scope)
    scope.loops.append(call.tags.get("name", ""))
    try:
        return _block(node.block, scope)
    finally:
        scope.loops.pop()


def _tags(node: Node, word: Word, scope: Scope) -> tuple[dict[str, Value], list[Argument]]:
    """The tags with their values, and the arguments after them (RFC 5228 2.6.2)."""
    found: dict[str, Value] = {}
    groups: dict[str, str] = {}
    rest: list[Argument] = []
    arguments = iter(node.arguments)
    for argument in arguments:
        if not isinstance(argument, WrittenTag):
            rest.append(argument)
            continue
        if rest:
            raise _at(argument, f"':{argument.name}' must stand before the positional arguments of '{node.name}'")
        tag = _known_tag(node, argument, word, scope)
        if argument.name in found:
            raise _at(argument, f"':{argument.name}' is given twice")
        if tag.group and tag.group in groups:
            raise _at(argument, f"':{argument.name}' excludes ':{groups[tag.group]}'")
        groups[tag.group] = argument.name
        found[argument.name] = True if tag.takes is None else _tag_value(argument, tag.takes, arguments, scope)
    return found, rest


def _known_tag(node: Node, argument: WrittenTag, word: Word, scope: Scope) -> Tag:
    tag = word.tags.get(argument.name)
    if tag is None:
        raise _at(argument, f"'{node.name}' has no tag ':{argument.name}' (no extension has it)")
    if tag.needs and tag.needs not in scope.extensions:
        raise _at(argument, f"':{argument.name}' needs the extension '{tag.needs}': require \"{tag.needs}\"")
    return tag


def _tag_value(argument: WrittenTag, takes: Kind, arguments: Iterator[Argument], scope: Scope) -> Value:
    value = next(arguments, None)
    if value is None:
        raise _at(argument, f"':{argument.name}' takes {takes.value}")
    return _value(value, takes, f"':{argument.name}' takes", scope)


def _positional(node: Node, word: Word, rest: Sequence[Argument], scope: Scope) -> tuple[Value, ...]:
    """The positional arguments; None for those left out."""
    kinds = word.positional
    left_out = len(kinds) - len(rest)
    if not 0 <= left_out <= word.optional + word.trailing:
        wanted = ", ".join(kind.value for kind in kinds[word.optional :]) or "no arguments"
        raise _at(node, f"'{node.name}' takes {wanted}")
    before, after = (left_out, 0) if word.optional else (0, left_out)
    given = tuple(
        _value(argument, kind, f"'{node.name}' takes", scope)
        for argument, kind in zip(rest, kinds[before : len(kinds) - after], strict=True)
    )
    return (None,) * before + given + (None,) * after


def _value(argument: Argument, kind: Kind, who: str, scope: Scope) -> Value:
    if kind is Kind.NUMBER:
        if not isinstance(argument, Number):
            raise _at(argument, f"{who} a number here")
        return argument.value
    if not isinstance(argument, Strings):
        raise _at(argument, f"{who} {kind.value} here")
    if kind in (Kind.TEXT, Kind.CONSTANT) and argument.listed:
        raise _at(argument, f"{who} one string here, not a list")
    texts = tuple(_text(argument, text, scope) for text in argument.values)
    if kind in (Kind.CONSTANT, Kind.CONSTANTS) and not all(isinstance(text, str) for text in texts):
        raise _at(argument, f"{who} a constant string here, without variables")
    return texts if kind in (Kind.TEXTS, Kind.CONSTANTS) else texts[0]


def _text(argument: Argument, text: str, scope: Scope) -> Text:
    try:
        if "encoded-character" in scope.extensions:
            text = decode_characters(text)
        return template(text, scope.namespaces) if "variables" in scope.extensions else text
    except InvalidScript as error:
        raise _at(argument, error.problem) from error


def _match(node: Node, tags: Mapping[str, Value], scope: Scope) -> Match:
    """How a test compares, by its tags (RFC 5228 2.7)."""
    name = tags.get("comparator", Comparator.CASEMAP.value)
    comparator = BY_NAME.get(name)
    if comparator is None:
        raise _at(node, f"unknown comparator '{name[:100]}'")
    if comparator is Comparator.NUMERIC and "comparator-i;ascii-numeric" not in scope.extensions:
        raise _at(node, 'i;ascii-numeric needs the extension: require "comparator-i;ascii-numeric"')
    kind = next((kind for kind in MatchType if kind.value in tags), MatchType.IS)
    if comparator is Comparator.NUMERIC and kind in _SUBSTRING:
        raise _at(node, f"':{kind.value}' cannot be used with {name}")
    relation = tags[kind.value].lower() if kind in (MatchType.COUNT, MatchType.VALUE) else "eq"
    if relation not in _RELATIONS:
        raise _at(node, f"'{relation[:20]}' is none of gt, ge, lt, le, eq, ne")
    return Match(kind, comparator, relation)


def _constants(node: Node, call: Call, scope: Scope) -> None:
    """What can be said of the constants before any message is there."""
    try:
        if call.match.type is MatchType.REGEX:
            for key in call.arguments[-1] or ():
                if isinstance(key, str):
                    patterns.check(key, length=scope.limits.regex_length, memory=scope.limits.regex_memory)
        if call.word.check is not None:
            call.word.check(call, scope)
    except InvalidScript as error:
        raise _at(node, error.problem) from error
