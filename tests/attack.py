"""Turns attack tools on a portal of its own: sqlmap on every parameter of a list, wapiti on the console, and guessing.

`python -m tests.attack`: a fresh PostgreSQL (TEST_DATABASE=sqlite for the other), a real server on the loopback address
and nothing else. What each tool found is printed, and left in var/attack/ with the tools' own reports. Fails where
something was found.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from tests import databases
from tests.demo import HERE, Api, Demo, _form, _make_what_the_page_has

REPORTS = HERE / "var" / "attack"
MINUTES = float(os.environ.get("ATTACK_MINUTES", "10"))  # for each tool
WRONG = "osmo_" + "0" * 43 + "2CZclj"  # the form of a secret, and nobody's
GUESSES, AT_ONCE = 80, 8
JWT_LIVES = 240  # seconds; a little less than it does
WAPITI = "backup,crlf,csp,cookieflags,exec,file,http_headers,permanentxss,redirect,sql,xss"
# Over plain HTTP on the loopback address there is neither; tests/test_security.py asks a portal under HTTPS. Browsers
# have given up X-XSS-Protection: the policy of the content stands in for it.
EXPECTED = [("Secure Flag", "ecure flag"), ("HTTP Secure", "Strict-Transport"), ("HTTP Secure", "X-XSS-Protection")]
PAGES = [
    "/",
    "/admin/login/?next=/admin/",
    "/admin/confirm/?next=/admin/",
    "/me/",
    "/me/device/?user_code=a",
    "/health",
]
WIRE = [
    "/api/auth/jwt/access_token?access_token=x",
    "/api/auth/access_token?access_token=x",
    "/api/auth/user?count=10&start_index=1&id_prefix=a&roles=osmo-user",
    "/api/auth/user/my-robot/access_token?x=1",
    "/api/pool?all_pools=true&pools=my_pool",
    "/api/pool_quota?all_pools=true&pools=my_pool",
    "/api/profile/settings?x=1",
]


class Target:
    """The portal, an administrator's browser and an administrator's secret."""

    def __init__(self, demo: Demo, first: dict[str, Any]) -> None:
        self.demo, self.first = demo, first
        self.browser = httpx.Client(base_url=demo.url, timeout=30)
        assert self._sign_in()

    def _sign_in(self) -> bool:
        form = _form(self.browser, "/admin/login/")
        answer = self._post("/admin/login/", form | {name: self.first[name] for name in ("username", "password")})
        return answer.status_code == 302

    def signs_in_again(self) -> bool:
        """From a browser that the person has used before."""
        self._post("/admin/logout/", _form(self.browser, "/admin/"))
        return self._sign_in()

    def _post(self, path: str, values: dict[str, str]) -> httpx.Response:
        return self.browser.post(path, data=values, headers={"referer": f"{self.demo.url}{path}"})

    @property
    def cookie(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.browser.cookies.jar)

    def jwt(self) -> str:
        answer = httpx.post(
            f"{self.demo.url}/api/auth/jwt/access_token", json={"token": self.first["token"]}, timeout=30
        )
        return str(answer.raise_for_status().json()["token"])

    def rest_lists(self) -> Iterator[str]:
        """Every parameter of every GET of the description, each in an address of its own: one that is refused would
        hide the others."""
        described = json.loads(self.demo.manage("spectacular", "--format", "openapi-json"))
        for path, methods in described["paths"].items():
            for one in methods.get("get", {}).get("parameters", []):
                if one["in"] == "query":
                    value = _plausible(one["schema"])
                    yield f"{re.sub('{[^}]+}', '1', path)}?{urlencode({one['name']: value})}"

    def console_lists(self) -> Iterator[str]:
        """Every field of a form by GET, on every list that the first page leads to."""
        for page in sorted(set(re.findall(r'href="(/admin/\w+/\w+/)[?"]', self.browser.get("/admin/").text))):
            html = self.browser.get(page).text
            forms = re.findall(r"<form(?![^>]*method=.post)[^>]*>(.*?)</form>", html, re.DOTALL | re.IGNORECASE)
            for name in sorted({*re.findall(r'name="([\w.-]+)"', " ".join(forms)), "q", "o", "after"}):
                yield f"{page}?{urlencode({name: '1'})}"


def _plausible(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    by_format = {"date": "2030-01-01", "date-time": "2030-01-01T00:00:00Z"}
    by_type = {"integer": 1, "number": 1, "boolean": "true"}
    return by_format.get(schema.get("format", "")) or by_type.get(str(schema.get("type")), "a")


def sqlmap(name: str, target: Target, paths: list[str], *credential: str, seconds: float) -> list[str]:
    """What sqlmap says can be injected. Errors that are answered as such (400 and the like) are no obstacle to it."""
    listed, results = REPORTS / f"sqlmap-{name}.targets", REPORTS / f"sqlmap-{name}.csv"
    listed.write_text("\n".join(target.demo.url + path for path in paths))
    options = "--batch --flush-session --disable-coloring --level 1 --risk 1 --technique BEU --threads 2 --skip-waf"
    command = ["sqlmap", "-m", str(listed), *options.split(), "--ignore-code", "400,404,422"]
    command += ["--output-dir", str(REPORTS / "sqlmap"), "--results-file", str(results), *credential]
    said = _bounded(command, REPORTS / f"sqlmap-{name}.log", seconds)
    tried = len(set(re.findall(r"testing if (?:GET|URI) parameter '([^']+)' is dynamic|skipping", said)))
    print(
        f"sqlmap, {name}: {len(paths)} addresses, {tried} different parameters, "
        f"{len(re.findall('does not seem to be injectable', said))} not injectable"
    )
    return re.findall(r"^.*(?:is vulnerable|appears to be .* injectable).*$", said, re.MULTILINE)


def wapiti(target: Target) -> list[str]:
    """Of the addresses that are given, and of nothing that they lead to: it would send the form that signs out. Nor
    with its attacks that ask a server outside (ssrf, xxe)."""
    report, log = REPORTS / "wapiti.json", REPORTS / "wapiti.log"
    report.unlink(missing_ok=True)
    addresses = [*target.console_lists(), *target.rest_lists(), *PAGES]
    command = ["wapiti", "-u", f"{target.demo.url}/admin/", "--scope", "domain", "-d", "0", "-m", WAPITI]
    command += [part for address in addresses for part in ("-s", target.demo.url + address)]
    command += [
        "-H",
        f"Cookie: {target.cookie}",
        "-S",
        "normal",
        "--flush-session",
        "--no-bugreport",
        "-f",
        "json",
        "-o",
        str(report),
    ]
    command += ["--max-scan-time", "60", "--max-attack-time", str(int(MINUTES * 60 / WAPITI.count(",")))]
    said = _bounded(command, log, MINUTES * 120)
    if not report.exists():
        return [f"wapiti: it left no report; see {log}"]
    told = json.loads(report.read_text())
    modules = len(re.findall("Launching module", said))
    print(f"wapiti: {told['infos'].get('crawled_pages_nbr', len(addresses))} addresses, {modules} kinds of attack")
    return [
        f"wapiti: {kind}: {one['method']} {one['path']} {one['info']}"
        for kind, found in chain(told["vulnerabilities"].items(), told["anomalies"].items())
        for one in found
        if not any(kind.startswith(what) and word in one["info"] for what, word in EXPECTED)
    ]


def guess(target: Target) -> list[str]:
    """Wrong passwords and secrets from many hands at once, over both processes of the server; then the holder comes."""
    url, name = target.demo.url, target.first["username"]

    def password(_: int) -> int:
        with httpx.Client(base_url=url, timeout=60) as stranger:
            form = _form(stranger, "/admin/login/")
            return stranger.post(
                "/admin/login/",
                data=form | {"username": name, "password": "wrong"},
                headers={"referer": f"{url}/admin/login/"},
            ).status_code

    def secret(_: int) -> int:
        return httpx.post(f"{url}/api/auth/jwt/access_token", json={"token": WRONG}, timeout=60).status_code

    with ThreadPoolExecutor(AT_ONCE) as hands:
        passwords, secrets = (Counter(hands.map(what, range(GUESSES))) for what in (password, secret))
    print(f"guessing: {GUESSES} passwords {dict(passwords)}, {GUESSES} secrets {dict(secrets)}")
    found = []
    if passwords[200] > 10:
        found.append(f"guessing: {passwords[200]} passwords of one person were tried, not 10")
    if set(secrets) - {400, 401, 429}:
        found.append(f"guessing: secrets were answered {dict(secrets)}")
    if not target.jwt():
        found.append("guessing: the holder of the token is locked out")
    if not target.signs_in_again():
        found.append("guessing: the person is locked out of a browser that was used before")
    return found


def _bounded(command: list[str], log: Path, seconds: float) -> str:
    """Runs the tool for so long at most; what it said by then counts."""
    with log.open("w") as out:
        try:
            subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=seconds, check=False, cwd=REPORTS)
        except subprocess.TimeoutExpired:
            print(f"{command[0]}: its {seconds:.0f} seconds were over before it was done")
    return log.read_text(errors="replace")


def run() -> list[str]:
    databases.prepare()
    with tempfile.TemporaryDirectory(prefix="osmo-portal-attack-") as directory:
        demo = Demo(Path(directory))
        demo.environment |= {"DATABASE_URL": os.environ["DATABASE_URL"], "LOG_LEVEL": "ERROR"}
        demo.manage("migrate", "--verbosity", "0")
        demo.manage("collectstatic", "--noinput", "--verbosity", "0")
        first = json.loads(demo.manage("bootstrap", "--json"))
        with demo.server():
            _make_what_the_page_has(Api(demo.url, first["token"]))
            target = Target(demo, first)
            session = ("--cookie", target.cookie)
            found = sqlmap("rest", target, [*target.rest_lists()], *session, seconds=MINUTES * 60)
            found += sqlmap("console", target, [*target.console_lists()], *session, seconds=MINUTES * 60)
            found += sqlmap("wire", target, WIRE, "--headers", f"x-osmo-auth: {target.jwt()}", seconds=JWT_LIVES)
            found += wapiti(target)
            return found + guess(target)


def main() -> int:
    missing = [tool for tool in ("sqlmap", "wapiti") if not shutil.which(tool)]
    if missing:
        print(f"Install {' and '.join(missing)} first (Debian: apt-get install sqlmap wapiti).", file=sys.stderr)
        return 1
    os.environ.setdefault("TEST_DATABASE", "postgresql")
    REPORTS.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    found = run()
    print(f"After {time.monotonic() - began:.0f} seconds: {len(found)} findings")
    print(*found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
