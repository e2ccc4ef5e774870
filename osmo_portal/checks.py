"""System checks: a wrong deployment fails at start, with a hint, and not at the first request."""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, register
from django.core.checks import Warning as Advice
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

HOW_TO_MAKE = "Run `make run` (or `python manage.py write_env`) to write a .env file, or set it in the environment."


@register()
def secret_key_is_set(**kwargs: Any) -> list[CheckMessage]:
    try:
        settings.SECRET_KEY  # noqa: B018  (raises when it is empty)
    except ImproperlyConfigured:
        pass
    else:
        return []
    return [Error("SECRET_KEY is not set.", hint=HOW_TO_MAKE, id="osmo.E001")]


@register()
def key_encryption_keys_work(**kwargs: Any) -> list[CheckMessage]:
    if not settings.KEY_ENCRYPTION_KEYS:
        return [Error("KEY_ENCRYPTION_KEYS is not set.", hint=HOW_TO_MAKE, id="osmo.E002")]
    try:
        for key in settings.KEY_ENCRYPTION_KEYS:
            Fernet(key)
    except ValueError:
        hint = "Each is 32 random bytes in url-safe base64, separated by commas; the first one encrypts."
        return [Error("KEY_ENCRYPTION_KEYS holds a value that is no key.", hint=hint, id="osmo.E003")]
    return []


@register()
def portal_url_is_safe(**kwargs: Any) -> list[CheckMessage]:
    if settings.PORTAL_IS_HTTPS or (settings.PORTAL_IS_LOOPBACK and settings.PORTAL_URL.startswith("http://")):
        return []
    hint = "Set it to the https:// address that people use; plain http is for 127.0.0.1 and localhost alone."
    return [Error(f"PORTAL_URL {settings.PORTAL_URL!r} would send secrets in the clear.", hint=hint, id="osmo.E004")]


@register()
def maximum_lifetime_is_sane(**kwargs: Any) -> list[CheckMessage]:
    if 1 <= settings.MAX_TOKEN_DAYS <= 3650:
        return []
    return [Error("MAX_TOKEN_DAYS must lie between 1 and 3650.", hint="The default is 365.", id="osmo.E005")]


@register()
def terminals_are_signed_in_for_a_while(**kwargs: Any) -> list[CheckMessage]:
    if 0 <= settings.TERMINAL_DAYS <= 365 and settings.TERMINAL_IDLE_DAYS >= 1:
        return []
    hint = "The defaults are 30 and 14. With TERMINAL_DAYS=0 no terminal is signed in."
    return [Error("TERMINAL_DAYS is not between 0 and 365, or TERMINAL_IDLE_DAYS below 1.", hint=hint, id="osmo.E014")]


@register()
def required_factors_are_known(**kwargs: Any) -> list[CheckMessage]:
    if settings.REQUIRE_MFA in {"administrators", "staff", "none"}:
        return []
    hint = "It is administrators, staff or none."
    return [Error(f"REQUIRE_MFA {settings.REQUIRE_MFA!r} is unknown.", hint=hint, id="osmo.E006")]


@register()
def provider_is_safe(**kwargs: Any) -> list[CheckMessage]:
    issuer = urlsplit(settings.OIDC_ISSUER)
    loopback = issuer.scheme == "http" and issuer.hostname in {"localhost", "127.0.0.1", "::1"}
    if not settings.OIDC_ISSUER or issuer.scheme == "https" or loopback:
        return []
    hint = "Set it to the issuer as the provider writes it, beginning with https://."
    return [Error(f"OIDC_ISSUER {settings.OIDC_ISSUER!r} cannot be trusted.", hint=hint, id="osmo.E007")]


@register()
def webhook_is_safe(**kwargs: Any) -> list[CheckMessage]:
    webhook = urlsplit(settings.NOTIFY_WEBHOOK_URL)
    loopback = webhook.scheme == "http" and webhook.hostname in {"localhost", "127.0.0.1", "::1"}
    if settings.NOTIFY_WEBHOOK_URL and not (loopback or (webhook.scheme == "https" and webhook.hostname)):
        hint = "Set it to an address that begins with https://."  # the address itself is a secret: it is not shown
        return [Error("NOTIFY_WEBHOOK_URL would send notices in the clear.", hint=hint, id="osmo.E010")]
    if bool(settings.NOTIFY_WEBHOOK_URL) == bool(settings.NOTIFY_WEBHOOK_SECRET):
        return []
    hint = "Set both: notices are signed with the secret, which the receiver knows too."
    return [Error("One of NOTIFY_WEBHOOK_URL and NOTIFY_WEBHOOK_SECRET is missing.", hint=hint, id="osmo.E011")]


@register()
def team_address_can_be_written_to(**kwargs: Any) -> list[CheckMessage]:
    if not settings.NOTIFY_TEAM_EMAIL:
        return []
    try:
        validate_email(settings.NOTIFY_TEAM_EMAIL)
    except ValidationError:
        message = f"NOTIFY_TEAM_EMAIL {settings.NOTIFY_TEAM_EMAIL!r} is no e-mail address."
        return [Error(message, hint="Give one address, without a name.", id="osmo.E012")]
    if settings.SENDS_MAIL:
        return []
    hint = "Set EMAIL_URL, for example smtp+tls://user:password@mail.example.org:587."
    return [Advice("NOTIFY_TEAM_EMAIL is set, but no mail is sent.", hint=hint, id="osmo.W010")]


@register()
def cache_is_known(**kwargs: Any) -> list[CheckMessage]:
    place = urlsplit(settings.CACHE_URL)
    if not settings.CACHE_URL or (place.scheme in {"redis", "rediss", "valkey", "valkeys"} and place.hostname):
        return []
    hint = "Write redis://host:6379/0 or, with TLS, rediss://…; without it the database keeps the counts."
    return [Error("CACHE_URL is no address of a Valkey or Redis server.", hint=hint, id="osmo.E020")]


@register()
def metrics_are_guarded(**kwargs: Any) -> list[CheckMessage]:
    if not settings.METRICS_TOKEN or re.fullmatch(r"[!-~]{20,}", settings.METRICS_TOKEN):
        return []
    hint = "Set 20 printable characters or more, for example from `openssl rand -hex 32`, or leave it out."
    return [Error("METRICS_TOKEN can be guessed, or be sent by nobody.", hint=hint, id="osmo.E023")]


@register()
def log_format_is_known(**kwargs: Any) -> list[CheckMessage]:
    if settings.LOG_FORMAT in {"line", "json"}:
        return []
    return [Error(f"LOG_FORMAT {settings.LOG_FORMAT!r} is unknown.", hint="It is line or json.", id="osmo.E024")]


@register()
def proxies_are_networks(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for network in settings.TRUSTED_PROXIES:
        try:
            everybody = ipaddress.ip_network(network).prefixlen == 0
        except ValueError:
            hint = "Write networks, separated by commas, without bits of hosts: 10.0.0.0/8,192.0.2.7/32."
            found.append(Error(f"TRUSTED_PROXIES holds {network!r}, which is no network.", hint=hint, id="osmo.E021"))
        else:
            if everybody:
                hint = "Name the proxies alone: whoever is trusted says from where a request comes."
                found.append(Error(f"TRUSTED_PROXIES {network} trusts everybody.", hint=hint, id="osmo.E022"))
    return found


@register()
def versions_of_clients_are_versions(**kwargs: Any) -> list[CheckMessage]:
    hint = "It is three numbers with dots between them, for example 6.3.1."
    optional = {name: getattr(settings, name) for name in ("CLI_LATEST_VERSION", "CLI_MIN_VERSION")}
    said = {"CLI_VERSION": settings.CLI_VERSION, **{name: text for name, text in optional.items() if text}}
    wrong = [name for name, text in said.items() if not re.fullmatch(r"\d+\.\d+\.\d+", text, re.ASCII)]
    return [Error(f"{name} is no version.", hint=hint, id="osmo.E008") for name in wrong]


@register()
def pattern_of_persons_is_one(**kwargs: Any) -> list[CheckMessage]:
    try:
        re.compile(settings.PERSON_ID_PATTERN)
    except re.error as error:
        hint = "The default is @, so that ann@example.org is a person and nightly-bot a service account."
        return [Error(f"PERSON_ID_PATTERN is no regular expression: {error}.", hint=hint, id="osmo.E009")]
    return []


@register()
def replica_is_one(**kwargs: Any) -> list[CheckMessage]:
    engines = {database["ENGINE"] for database in settings.DATABASES.values()}
    if not settings.REPLICA_URL or (len(settings.DATABASES) == 2 and engines == {"django.db.backends.postgresql"}):
        return []
    hint = "Name a streaming replica of the PostgreSQL in DATABASE_URL, as it is named there, or leave it out."
    return [Error("REPLICA_URL is no replica of DATABASE_URL.", hint=hint, id="osmo.E013")]


@register(deploy=True)
def administrators_have_a_second_factor(**kwargs: Any) -> list[CheckMessage]:
    if settings.REQUIRE_MFA != "none" or not settings.PORTAL_IS_HTTPS:
        return []
    hint = "Set REQUIRE_MFA=administrators: they are led to add one at their next sign-in."
    return [Advice("An administrator's password alone opens everything.", hint=hint, id="osmo.W001")]


@register(deploy=True)
def database_is_who_it_says(**kwargs: Any) -> list[CheckMessage]:
    """libpq takes any server by default, and goes on in the clear where that has no TLS."""
    hint = "Add ?sslmode=verify-full&sslrootcert=/path/to/ca.crt to its address."
    return [
        Advice(f"The connection to the {alias} database is not verified.", hint=hint, id="osmo.W002")
        for alias, database in settings.DATABASES.items()
        if "postgresql" in database["ENGINE"]
        and not {*database["HOST"].split(",")} <= {"", "localhost", "127.0.0.1", "::1"}
        and not database["HOST"].startswith("/")
        and database["OPTIONS"].get("sslmode") != "verify-full"
    ]


@register(deploy=True)
def mail_goes_out(**kwargs: Any) -> list[CheckMessage]:
    if settings.SENDS_MAIL:
        return []
    hint = "Set EMAIL_URL, for example smtp+tls://user:password@mail.example.org:587. Until then no page offers a link."
    return [Info("Passwords cannot be set by mail.", hint=hint, id="osmo.I001")]
