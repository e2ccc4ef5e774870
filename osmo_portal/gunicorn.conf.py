"""gunicorn's settings. `PORT`, `WEB_WORKERS` and `WEB_THREADS` come from the environment."""

import os
import shutil
import tempfile

bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}" if "BIND" not in os.environ else os.environ["BIND"]
workers = int(os.environ.get("WEB_WORKERS", "2"))
# Of what was tried on 2 cores, two workers of four threads served most: they keep the connections of callers open. Two
# that serve one request at a time, without that, served 0.8 times as many, and four of those 0.6 times. Each thread
# keeps a connection to the database.
worker_class = "gthread"
threads = int(os.environ.get("WEB_THREADS", "4"))
keepalive = 30
timeout = 60
graceful_timeout = 10
max_requests_jitter = 0
control_socket_disable = True  # by default it would open one in the home directory
limit_request_line = 4094
limit_request_fields = 50
# The portal itself decides by TRUSTED_PROXIES whom it believes; gunicorn would believe everybody on this machine.
forwarder_headers = ""
secure_scheme_headers = {}
accesslog = "-"
logger_class = "osmo_portal.access_log.AccessLog"
if os.environ.get("LOG_FORMAT") == "json":
    logconfig_dict = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "osmo_portal.logging.JsonFormatter"}},
        "handlers": {
            "out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"},
            "err": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"},
        },
        "root": {"level": "INFO", "handlers": ["err"]},
        "loggers": {
            "gunicorn.error": {"level": "INFO", "handlers": ["err"], "propagate": False},
            "gunicorn.access": {"level": "INFO", "handlers": ["out"], "propagate": False},
        },
    }


def on_starting(server):
    """Through files here the processes tell each other what they counted."""
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="osmo-portal-metrics-"))


def post_request(worker, request, environ, response):
    """What gunicorn says in this thread from here on is not about that request."""
    from osmo_portal.logging import request_id

    request_id.set("")


def on_exit(server):
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
