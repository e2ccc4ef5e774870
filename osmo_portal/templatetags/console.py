"""The console's words, for templates."""

from django import template

from osmo_portal.console import words

register = template.Library()
register.filter("stamp", words.stamp)
register.filter("distance", words.distance)
register.filter("badge", words.badge)
register.filter("spoken", words.spoken)
register.filter("changes", words.changes)
register.filter("counted", words.counted)
register.filter("plain", words.plain)
