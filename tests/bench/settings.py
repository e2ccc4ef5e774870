"""The portal's settings, with the yardsticks' addresses beside its own."""

from osmo_portal.settings import *  # noqa: F403

ROOT_URLCONF = "tests.bench.yardsticks"
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # noqa: F405
WHITENOISE_AUTOREFRESH = True  # finds the files where they are, without collectstatic
