"""Real content filters of Debian's packages: clamd with one signature, spamd and rspamd without the network.

Each lives in a temporary folder, on a free port of the loopback address, and ends with the test that started it.
"""

import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from posthorn_ctl.embedded import ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.programs import folder_of_server, listening

EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The file that every virus scanner finds (eicar.org), in two pieces so that none finds it here."""
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE" + "-TEST-EMAIL*C.34X"
"""The line that every spam filter finds (spamassassin.apache.org/gtube)."""
_PATH = f"{os.defpath}:/usr/sbin:/usr/local/sbin"


@dataclass(frozen=True, slots=True)
class Clamd:
    """A running clamd, reached in two ways."""

    address: str
    """host:port"""
    socket: Path
    stream_limit: int
    """Octets of a message that it looks at the most."""


def program(name: str, package: str) -> str:
    """The path of a program of a Debian package. Raises PartError."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise PartError(f"{name} is not installed (Debian: apt-get install {package})")
    return found


@contextmanager
def clamd_server() -> Iterator[Clamd]:
    """clamd, which knows EICAR alone. Raises PartError."""
    command = program("clamd", "clamav-daemon")
    limit = 1 << 20
    with folder_of_server("clamd") as folder:
        port = ports.free_ports(1)[0]
        database = folder / "database"
        database.mkdir(mode=0o755)
        (database / "own.ndb").write_text(f"Eicar-Test-Signature:0:*:{EICAR.encode().hex()}\n", encoding="utf-8")
        settings = folder / "clamd.conf"
        settings.write_text(
            f"Foreground yes\nDatabaseDirectory {database}\nTemporaryDirectory {folder}\nUser {_user()}\n"
            f"TCPAddr {ports.LOOPBACK}\nTCPSocket {port}\nLocalSocket {folder}/socket\n"
            f"StreamMaxLength {limit}\nMaxThreads 4\n",
            encoding="utf-8",
        )
        with listening([command, "--config-file", str(settings)], port, folder):
            yield Clamd(f"{ports.LOOPBACK}:{port}", folder / "socket", limit)


def _user() -> str:
    """Who runs the tests: clamd changes to the user it was built for unless told another."""
    return pwd.getpwuid(os.getuid()).pw_name


@contextmanager
def spamd_server() -> Iterator[str]:
    """host:port of a spamd with SpamAssassin's own rules, those that need no network. Raises PartError."""
    command = program("spamd", "spamd")
    with folder_of_server("spamd") as folder:
        port = ports.free_ports(1)[0]
        site = folder / "site"
        site.mkdir()
        plugins = ("Check", "BodyEval", "HeaderEval", "HTMLEval", "MIMEEval", "MIMEHeader", "WLBLEval")
        loaded = "".join(f"loadplugin Mail::SpamAssassin::Plugin::{plugin}\n" for plugin in plugins)
        (site / "own.pre").write_text(loaded, encoding="utf-8")
        (site / "local.cf").write_text("required_score 5\nuse_bayes 0\n", encoding="utf-8")
        words = [command, "--local", "--nouser-config", "--listen", f"{ports.LOOPBACK}:{port}", "--syslog", "stderr"]
        words += ["--siteconfigpath", str(site), "--max-children", "2", "--min-children", "1"]
        with listening(words, port, folder, environ={"HOME": str(folder)}):
            yield f"{ports.LOOPBACK}:{port}"


_RSPAMD_RULE = """
rspamd_config:register_symbol({
  name = 'OWN_FIELDS', type = 'postfilter', priority = 10,
  callback = function(task)
    if not task:get_header('X-Ask') then return end
    local seen = string.format('%s %s %s', task:get_from('smtp')[1].addr, tostring(task:get_ip()), task:get_helo())
    task:set_milter_reply({
      add_headers = {
        ['X-Seen'] = {value = seen, order = 1},
        ['X-Many'] = {{value = 'a', order = -1}, {value = 'b', order = -1}},
      },
      remove_headers = {['X-Ask'] = 0},
    })
  end
})
"""


@contextmanager
def rspamd_server() -> Iterator[str]:
    """host:port of an rspamd with one rule of ours: a message with X-Ask gets fields. Raises PartError."""
    command = program("rspamd", "rspamd")
    with folder_of_server("rspamd") as folder:
        port = ports.free_ports(1)[0]
        (folder / "rule.lua").write_text(_RSPAMD_RULE, encoding="utf-8")
        (folder / "tld").write_text("com\nnet\norg\nexample\n", encoding="utf-8")  # the whole list takes half a minute
        settings = folder / "rspamd.conf"
        settings.write_text(
            f'options {{ pidfile = "{folder}/pid"; filters = ""; tempdir = "{folder}"; url_tld = "{folder}/tld";\n'
            f'  hs_cache_dir = "{folder}"; enable_test_patterns = true;\n'
            f'  dns {{ nameserver = ["{ports.LOOPBACK}:9"]; }} }}\n'
            'logging { type = "console"; }\n'
            f'worker "normal" {{ bind_socket = "{ports.LOOPBACK}:{port}"; count = 1; }}\n'
            "actions { reject = 15; add_header = 6; greylist = null; }\n"
            f'lua = "{folder}/rule.lua";\n',
            encoding="utf-8",
        )
        with listening([command, "--no-fork", "--insecure", "--config", str(settings)], port, folder):
            yield f"{ports.LOOPBACK}:{port}"
