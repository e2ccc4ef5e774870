"""All settings. Each comes from the environment or ENV_FILE (`.env`), with a default that is safe to run on."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ

from osmo_portal import postgresql

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

env = environ.Env()
env.read_env(env.str("ENV_FILE", default=str(BASE_DIR / ".env")))

# What must be kept secret. Empty values are refused by a system check with a hint (osmo_portal.checks).
SECRET_KEY = env.str("SECRET_KEY", default="")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
KEY_ENCRYPTION_KEYS = env.list("KEY_ENCRYPTION_KEYS", default=[])

DEBUG = env.bool("DEBUG", default=False)

# Where people and programs reach the portal. Hosts, origins, cookies and HSTS follow from it.
PORTAL_URL = env.str("PORTAL_URL", default=f"http://127.0.0.1:{env.int('PORT', default=8000)}").rstrip("/")
_portal = urlsplit(PORTAL_URL)
PORTAL_IS_HTTPS = _portal.scheme == "https"
PORTAL_IS_LOOPBACK = _portal.hostname in {"localhost", "127.0.0.1", "::1"}
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"] if PORTAL_IS_LOOPBACK else [_portal.hostname or ""]
CSRF_TRUSTED_ORIGINS = [PORTAL_URL]

# Networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto count, for example 10.0.0.0/8.
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

INSTALLED_APPS = [
    "osmo_portal.apps.PortalConfig",
    "osmo_portal.events",
    "osmo_portal.signin",
    "profiles",
    "tokens",
    "osmo_portal.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "osmo_portal.middleware.ProtocolOfProxies",
    # First what adds headers, so that an answer of the others carries them too.
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "osmo_portal.middleware.SecurityHeaders",
    "osmo_portal.middleware.RequestFacts",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "osmo_portal.middleware.KnownHost",
    # What stands from here to PagesTo, requests of programs go past.
    "osmo_portal.middleware.PagesFrom",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "osmo_portal.middleware.PagesTo",
    "osmo_portal.again.Again",
]

# Whoever knows it may ask /metrics. Without it nothing is timed, and there is nothing at that address.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
if METRICS_TOKEN:
    MIDDLEWARE.insert(0, "osmo_portal.metrics.Timing")

ROOT_URLCONF = "osmo_portal.urls"
WSGI_APPLICATION = "osmo_portal.wsgi.application"
APPEND_SLASH = False  # a redirect would turn a client's POST into a GET

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# SQLite by default: one file, nothing to install. PostgreSQL by DATABASE_URL, which may name several hosts.
DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'portal.sqlite3'}")}
STATEMENT_TIMEOUT = env.int("STATEMENT_TIMEOUT", default=15)  # seconds; 0 where the database role sets them all
PGBOUNCER = env.bool("PGBOUNCER", default=False)  # whether its address leads to one that pools by transaction
CONN_MAX_AGE = env.int("CONN_MAX_AGE", default=600)  # to open one costs more than most requests
REPLICA_URL = env.str("REPLICA_URL", default="")  # lists and exports are read there (osmo_portal.replica)
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["CONN_MAX_AGE"] = CONN_MAX_AGE
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # recursive_triggers: without it INSERT OR REPLACE walks past the triggers that guard the events.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA recursive_triggers=ON;",
        }
    )
else:
    if REPLICA_URL:
        DATABASES["replica"] = env.db_url("REPLICA_URL")
        DATABASE_ROUTERS = ["osmo_portal.replica.Router"]
    DATABASES = {
        alias: postgresql.connected(
            database,
            statement_timeout=STATEMENT_TIMEOUT,
            lock_timeout=env.int("LOCK_TIMEOUT", default=10),
            max_age=CONN_MAX_AGE,
            pgbouncer=PGBOUNCER,
            replica=alias == "replica",
        )
        for alias, database in DATABASES.items()
    }

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "profiles.User"
AUTHENTICATION_BACKENDS = ["profiles.backends.PersonBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
ACCOUNT_ADAPTER = "osmo_portal.signin.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]  # nobody signs up; allauth takes the fields of the sign-in from it
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = True  # for SESSION_COOKIE_AGE
MFA_ADAPTER = "osmo_portal.signin.factors.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_FORMS = {
    "authenticate": "osmo_portal.signin.forms.SecondStepForm",
    "authenticate_webauthn": "osmo_portal.signin.forms.SecondStepKeyForm",
    "activate_totp": "osmo_portal.signin.forms.AddAppForm",
    "add_webauthn": "osmo_portal.signin.forms.AddKeyForm",
}
MFA_TOTP_TOLERANCE = 1  # half a minute to either side
MFA_RECOVERY_CODE_DIGITS = 10
MFA_REAUTHENTICATION_REQUIRED = False  # the pages ask osmo_portal.console.recent
# Who cannot use the console without a second factor: administrators, staff (operators and auditors too) or none.
REQUIRE_MFA = env.str("REQUIRE_MFA", default="none")
# Single sign-on by OpenID Connect, where OIDC_ISSUER and OIDC_CLIENT_ID are set.
OIDC_ISSUER = env.str("OIDC_ISSUER", default="")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", default="")
OIDC_NAME = env.str("OIDC_NAME", default="single sign-on")
OIDC_SCOPE = env.str("OIDC_SCOPE", default="openid profile email")
OIDC_CREATE_PEOPLE = env.bool("OIDC_CREATE_PEOPLE", default=False)
OIDC_USER_CLAIM = env.str("OIDC_USER_CLAIM", default="preferred_username")  # the user id of who is created
OIDC_ROLE_CLAIM = env.str("OIDC_ROLE_CLAIM", default="")
OIDC_ROLE_MAP = env.dict("OIDC_ROLE_MAP", default={})  # value of the claim: role, or operators, or auditors
# Failures alone are counted: of an address, and of a user id (osmo_portal.signin.browsers).
ACCOUNT_RATE_LIMITS = {
    "login": None,
    "login_failed": "30/15m/ip,10/15m/key",
    "reset_password": "20/15m/ip,3/15m/key",
    # Of terminals these count every try: a right code among the wrong ones must not buy more of them.
    "ask_for_codes": "60/15m/ip",
    "terminal_code": "60/15m/ip,10/15m/user",
}
PASSWORD_RESET_TIMEOUT = 24 * 60 * 60  # seconds that a link in a mail works for

# Mail goes out only where EMAIL_URL says how; without it no page offers a link by mail.
EMAIL_URL = env.str("EMAIL_URL", default="")
SENDS_MAIL = bool(EMAIL_URL)
vars().update(env.email_url_config(EMAIL_URL or "dummymail://"))
DEFAULT_FROM_EMAIL = env.str("MAIL_FROM", default=f"OSMO portal <noreply@{_portal.hostname}>")
EMAIL_TIMEOUT = 10
# Who is told by notify_expiring that tokens end, besides the people who answer for them.
NOTIFY_TEAM_EMAIL = env.str("NOTIFY_TEAM_EMAIL", default="")
NOTIFY_WEBHOOK_URL = env.str("NOTIFY_WEBHOOK_URL", default="")
NOTIFY_WEBHOOK_SECRET = env.str("NOTIFY_WEBHOOK_SECRET", default="")
# Shared by all processes. Where one process may count for itself, `local` costs no query.
# So many entries that a flood of made-up user ids does not push out what was counted of the real ones.
_CACHE_ENTRIES = 100_000
CACHE_URL = env.str("CACHE_URL", default="")
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "osmo_portal.shared_cache.Database",
        "LOCATION": "portal_cache",
        "OPTIONS": {"MAX_ENTRIES": _CACHE_ENTRIES},
    },
    # Each process its own: costs no query.
    "local": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
}
if CACHE_URL:
    CACHES["default"] = {
        "BACKEND": "osmo_portal.shared_cache.RedisOrDatabase",
        "LOCATION": re.sub("^valkey", "redis", CACHE_URL),
        "KEY_PREFIX": "osmo-portal",
        "OPTIONS": {
            "TABLE": "portal_cache",
            "MAX_ENTRIES": _CACHE_ENTRIES,
            "socket_connect_timeout": 0.5,
            "socket_timeout": 0.5,
        },
    }

# What the portal is about.
MAX_TOKEN_DAYS = env.int("MAX_TOKEN_DAYS", default=365)
EXCHANGE_BY_QUERY = env.bool("EXCHANGE_BY_QUERY", default=True)  # the released 6.0 clients need it
BUCKETS = env.list("BUCKETS", default=["osmo"])
CLI_VERSION = env.str("CLI_VERSION", default="6.0.0")
# Older clients are told to update, and much older ones refused. Empty: none is.
CLI_LATEST_VERSION = env.str("CLI_LATEST_VERSION", default="")
CLI_MIN_VERSION = env.str("CLI_MIN_VERSION", default="")
# `osmo user create ID` makes a person where this regular expression is found in the id, else a service account.
PERSON_ID_PATTERN = env.str("PERSON_ID_PATTERN", default="@")
# `osmo login URL` signs a person in at a terminal: for so many days, or so many without use. With 0 days not at all.
TERMINAL_DAYS = env.int("TERMINAL_DAYS", default=30)
TERMINAL_IDLE_DAYS = env.int("TERMINAL_IDLE_DAYS", default=14)
JWT_ISSUER = "osmo"
JWT_AUDIENCE = "osmo"

SESSION_ENGINE = "osmo_portal.signin.sessions"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PORTAL_IS_HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "osmo_portal.views.csrf_failure"
SESSION_COOKIE_AGE = 12 * 60 * 60
SECURE_SSL_REDIRECT = PORTAL_IS_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(health|ready|metrics)$", r"^api/authz(/|$)"]  # asked from inside
SECURE_HSTS_SECONDS = 31_536_000 if PORTAL_IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PORTAL_IS_HTTPS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# USERNAME_FIELD is unique among users that are not deleted, case-insensitively; PersonBackend asks just that.
SILENCED_SYSTEM_CHECKS = ["auth.W004"]

DATA_UPLOAD_MAX_MEMORY_SIZE = 262_144
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000

LANGUAGE_CODE = "en-us"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tokens.api.authentication.JwtAuthentication",
        "tokens.api.authentication.ConsoleAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "osmo_portal.keyset.Keyset",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "osmo_portal.problems.answer",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "OSMO portal",
    "DESCRIPTION": "Users, roles, pools and access tokens of an OSMO installation.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "osmo_portal.openapi.complete",
    ],
}

LOG_FORMAT = env.str("LOG_FORMAT", default="line")  # or json
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "osmo_portal.logging.LineFormatter"},
        "json": {"()": "osmo_portal.logging.JsonFormatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    # Django's own handlers would log the same again, or mail a page full of settings.
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "authlib": {"level": "WARNING"},  # it logs the tokens that it issues
        "httpx": {"level": "WARNING"},  # it logs whole addresses, and that of a webhook is a secret
    },
}
