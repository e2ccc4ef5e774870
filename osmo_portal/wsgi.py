import os

from django.core.management.base import BaseCommand
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "osmo_portal.settings")

application = get_wsgi_application()
# A server that would run with a wrong configuration does not start at all; the checks say what is wrong.
BaseCommand().check()
