"""gsasl, the command of GNU SASL: a client of SMTP and IMAP that knows SCRAM, by people who never saw this server."""

import shutil
import subprocess

from posthorn_testkit.strict import missing

SECONDS = 60


def log_in(protocol: str, mechanism: str, address: tuple[str, int], user: str, password: str) -> bool:
    """Whether gsasl finds itself logged in; SCRAM alone if the server proved to know the password too. It blocks.

    `protocol` is "smtp" or "imap"; skips the test when gsasl is not installed.
    """
    program = shutil.which("gsasl")
    if program is None:
        missing("gsasl is not installed (apt-get install gsasl)")
    host, port = address
    done = subprocess.run(
        [
            *(program, f"--{protocol}", "--mechanism", mechanism, "--connect", f"{host}:{port}", "--no-starttls"),
            *("--authentication-id", user, "--authorization-id", "", "--password", password, "--quiet"),
        ],
        input=b"",
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode == 0
