"""`make fuzz`: atheris on each target for a time, guided by coverage; what breaks one is kept and named.

make fuzz ARGS="--seconds 60"
make fuzz ARGS="--seconds 600 dialogue sieve"
.venv/bin/python -m tests.fuzz --once dialogue FILE
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import CHOOSING, TARGETS, TOKENS

MEMORY = 1024
"""MB that a run may take."""
SLOWEST = 10
"""Seconds that one input may take."""
LONGEST = 65_536
"""Octets of an input."""
FOUND = Path("fuzz-findings")


def main() -> int:
    """Exit code 0: nothing was found; 1: something was; 3: atheris is missing."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Look for input that breaks a protocol's reader.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--once", nargs=2, metavar=("TARGET", "FILE"), help="try one input again")
    parser.add_argument("--inside", metavar="TARGET", help=argparse.SUPPRESS)
    asked, _ = parser.parse_known_args()
    if asked.once:
        TARGETS[asked.once[0]](Path(asked.once[1]).read_bytes())
        return 0
    if asked.inside:
        _inside(asked.inside)
    if unknown := set(asked.targets) - set(TARGETS):
        parser.error(f"unknown target {unknown.pop()}: the targets are {', '.join(TARGETS)}")
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("make fuzz: atheris is missing, or has no build for this Python: uv sync --group fuzz", file=sys.stderr)
        return 3
    broken = [target for target in asked.targets or TARGETS if not _run(target, asked.seconds)]
    print(f"broken: {', '.join(broken)}; inputs in {FOUND}/" if broken else "nothing found")
    return 1 if broken else 0


def _run(target: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own, which a crash or too much memory ends."""
    print(f"== {target}, {seconds} s", flush=True)
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        corpus = Path(name) / "corpus"
        corpus.mkdir()
        for number, token in enumerate((*TOKENS[target], b"".join(TOKENS[target]))):
            (corpus / f"token{number}").write_bytes(b"\0" * CHOOSING[target] + token)
        words = Path(name) / "words"
        words.write_text("".join(f'"{_escaped(token)}"\n' for token in TOKENS[target] if len(token) <= 64))
        limits = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}", f"-timeout={SLOWEST}", f"-max_len={LONGEST}"]
        told = [f"-artifact_prefix={FOUND}/{target}-", f"-dict={words}", "-print_final_stats=1", "-verbosity=0"]
        inside = [sys.executable, "-m", "tests.fuzz", "--inside", target]
        return subprocess.run([*inside, *limits, *told, str(corpus)], check=False).returncode == 0


def _inside(target: str) -> None:
    """Never returns: atheris ends the process."""
    import atheris

    own = [word for word in sys.argv[1:] if word not in ("--inside", target)]
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *own], lambda data: TARGETS[target](bytes(data)))
    atheris.Fuzz()


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in token)


if __name__ == "__main__":
    raise SystemExit(main())
