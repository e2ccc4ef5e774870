import gc
import os

from django.core.management.base import BaseCommand
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "osmo_portal.settings")

application = get_wsgi_application()
# A server that would run with a wrong configuration does not start at all; the checks say what is wrong.
BaseCommand().check()
# What is there by now stays as long as the process. To look for garbage among it kept requests waiting for 0.2 s.
gc.collect()
gc.freeze()
