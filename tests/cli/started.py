"""`osmo`, loaded once and forked for each start: to load it takes twenty times as long as what most commands do.

Reads a line of JSON for each start from stdin, and writes its exit code as a line when it has ended.
"""

import contextlib
import json
import os
import sys

from osmo_cli.errors import OsmoError
from osmo_cli.main import app, main


def become_one_of_them() -> None:
    """Returns in each child, as a process that was started with what was asked for."""
    with contextlib.suppress(OsmoError):  # nobody has logged in here; what it needs is loaded then
        app(["token", "list"], standalone_mode=False)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(**json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    os._exit(0)


def _become(arguments: list[str], environment: dict[str, str], stdout: str, stderr: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, stdout, os.O_WRONLY), (2, stderr, os.O_WRONLY)):
        os.dup2(os.open(path, flags), number)
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - it lives as long as the process


if __name__ == "__main__":
    become_one_of_them()
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(end.code or 0))  # to tidy up takes as long as most commands do
