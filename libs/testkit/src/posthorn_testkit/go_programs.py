"""Programs written in Go that tests drive: built once by `go install`, of a pinned version, and kept in the cache."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.programs import cache_folder


def go_program(package: str, version: str, *, alone: bool = False) -> Path:
    """The program of a main package, built on the first call. Raises PartError when it cannot be built.

    `alone`: the package is a module of its own with replacements, which `go install` refuses.
    """
    name = package.rpartition("/")[2]
    program = cache_folder() / "bin" / f"{name}-{version}"
    if program.is_file():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as private:
        if alone:
            (Path(private) / "go.mod").write_text(f"module tests\n\ngo 1.24\n\nrequire {package} {version}\n")
            run_go("build", "-mod=mod", "-trimpath", "-o", name, package, folder=Path(private))
        else:
            run_go("install", f"{package}@{version}", environ={"GOBIN": private, "GOFLAGS": "-trimpath"})
        # Another session may have been quicker: its program is as good.
        (Path(private) / name).replace(program)
    return program


def go_module(module: str, version: str) -> Path:
    """The folder with the files of a module. Raises PartError when it cannot be fetched."""
    # Outside of any module, so that no go.mod around it is asked.
    with tempfile.TemporaryDirectory() as nowhere:
        found = json.loads(run_go("mod", "download", "-json", f"{module}@{version}", folder=Path(nowhere)))
    return Path(found["Dir"])


def run_go(*arguments: str, folder: Path | None = None, environ: dict[str, str] | None = None) -> str:
    """What a go command says. Raises PartError."""
    go = shutil.which("go")
    if go is None:
        raise PartError(f"no Go to run `go {' '.join(arguments)}` with")
    done = subprocess.run(
        [go, *arguments],
        cwd=folder,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PartError(f"go {' '.join(arguments)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
