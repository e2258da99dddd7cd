"""Sieve (RFC 5228): `compile_script` makes a program of a script, `evaluate` runs it over a message.

Nothing here reads or writes anything: what a run must know is handed in, what it decides comes back as values.
"""

from posthorn_sieve.capabilities import EXTENSIONS, NOTIFY_METHODS
from posthorn_sieve.compiling import compile_script
from posthorn_sieve.errors import InvalidScript, LimitReached, ScriptFailed, SieveError
from posthorn_sieve.limits import Limits
from posthorn_sieve.program import Script
from posthorn_sieve.run import evaluate
from posthorn_sieve.situation import Outcome, Question, Score, Situation

__all__ = [
    "EXTENSIONS",
    "NOTIFY_METHODS",
    "InvalidScript",
    "LimitReached",
    "Limits",
    "Outcome",
    "Question",
    "Score",
    "Script",
    "ScriptFailed",
    "SieveError",
    "Situation",
    "compile_script",
    "evaluate",
]
