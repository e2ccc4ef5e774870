"""How a page that is stepped into on the way to another one knows where to go on."""

from django.utils.http import urlencode


def with_next(address: str, wanted: str) -> str:
    """The address, with what was wanted as its `next`. Whoever reads that takes it only where it is of this host."""
    return f"{address}?{urlencode({'next': wanted})}" if wanted else address
