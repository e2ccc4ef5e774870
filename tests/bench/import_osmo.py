"""How long `manage.py import_osmo` takes for many tokens, and how much memory.

`python -m tests.bench.import_osmo [TOKENS]`: sources of 6.0 and 6.3 with so many tokens (100,000), into SQLite and into
PostgreSQL. In the 6.0 source four of five are service tokens, in the 6.3 source every tenth is a wide one of a person.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet
from psycopg.conninfo import conninfo_to_dict

os.environ.setdefault("DATABASE_URL", "sqlite:///:memory:")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "osmo_portal.settings")

from tests import databases
from tests.osmo import Osmo, allow, http

HERE = Path(__file__).resolve().parent.parent.parent
FILL = {
    "6.0": """
        INSERT INTO profile SELECT 'person-' || n || '@example.com', false, n % 2 = 0
            FROM generate_series(1, {tokens} / 50) n;
        INSERT INTO access_token SELECT 'person-' || n % ({tokens} / 50) + 1 || '@example.com', 'laptop-' || n,
            sha256(('u' || n)::bytea), current_date + n % 300 + 1, 'made by a bench', 'USER', '{{osmo-user}}'
            FROM generate_series(1, {tokens} / 5) n;
        INSERT INTO profile SELECT 'robot-' || n, false, false FROM generate_series(1, {tokens} / 5 * 4) n;
        INSERT INTO access_token SELECT 'robot-' || n, 'robot-' || n, sha256(('s' || n)::bytea),
            current_date + n % 300 + 1, 'made by a bench', 'SERVICE', ARRAY['team-' || n % 20, 'osmo-user']
            FROM generate_series(1, {tokens} / 5 * 4) n;
    """,
    "6.3": """
        INSERT INTO users SELECT 'person-' || n || '@example.com', now() FROM generate_series(1, {tokens} / 10) n;
        INSERT INTO profile SELECT id, true, false FROM users;
        INSERT INTO user_roles (user_id, role_name) SELECT id, 'osmo-user' FROM users;
        INSERT INTO user_roles (user_id, role_name) SELECT 'person-' || n || '@example.com', 'team-' || n % 20
            FROM generate_series(1, {tokens} / 10) n;
        INSERT INTO access_token SELECT 'person-' || n % ({tokens} / 10) + 1 || '@example.com', 'laptop-' || n,
            sha256(('u' || n)::bytea), current_date + n % 300 + 1, 'made by a bench'
            FROM generate_series(1, {tokens}) n;
        INSERT INTO access_token_roles SELECT user_name, token_name, id FROM access_token
            JOIN user_roles ON user_id = user_name AND (role_name = 'osmo-user' OR token_name LIKE '%7');
    """,
}


def main(tokens: int) -> None:
    server = databases.postgresql_server()
    for release, fill in FILL.items():
        osmo = Osmo(release)
        for number in range(20):
            team = allow("workflow:*", on=f"pool/team-{number}") if osmo.is_new else http(f"/api/pool/team-{number}*")
            osmo.role(f"team-{number}", [team])
        osmo.run(fill.format(tokens=tokens))
        osmo.run("ANALYZE")
        for target in ("SQLite", "PostgreSQL"):
            with tempfile.TemporaryDirectory() as home:
                _measure(osmo, release, target, server, Path(home))


def _measure(osmo: Osmo, release: str, target: str, server: str, home: Path) -> None:
    url = f"sqlite:///{home}/portal.sqlite3" if target == "SQLite" else _database(server)
    environment = os.environ | {
        "DATABASE_URL": url,
        "SECRET_KEY": "bench-" + os.urandom(32).hex(),
        "KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "PORTAL_URL": "http://127.0.0.1:8000",
        "OSMO_IMPORT_DSN": osmo.reader,
    }
    _manage(environment, "migrate", "--verbosity=0")
    _manage(environment, "bootstrap")
    for name, words in {
        "dry run": [],
        "import": ["--apply", "--convert-wide"],
        "second run": ["--apply", "--convert-wide"],
    }.items():
        seconds, busy, megabytes, said = _manage(environment, "import_osmo", "--actor=admin", *words)
        spent = f"{seconds:.1f} s, {busy:.1f} s of CPU time, {megabytes:.0f} MB"
        print(f"{release} into {target}, {name}: {spent}. {said}", flush=True)


def _database(server: str) -> str:
    name = f"portal_bench_{time.monotonic_ns()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    facts = conninfo_to_dict(server)
    return f"postgres://{facts['user']}:{facts['password']}@{facts['host']}:{facts['port']}/{name}"


def _manage(environment: dict[str, str], *words: str) -> tuple[float, float, float, str]:
    """Seconds, those of the processor (without the server's), megabytes at the most, and what was said."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *words], cwd=HERE, env=environment, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        said.seek(0)
        lines = said.read().strip().splitlines() or [""]
    if status:
        raise SystemExit("\n".join(lines))
    sentence = next((line for line in reversed(lines) if line.startswith(("Imported", "Would", "There is"))), "")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, sentence


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000)
