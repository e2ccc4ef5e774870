"""The `osmo` client of the portal. The version is also the dialect of the wire that it speaks."""

__version__ = "6.0.0"
