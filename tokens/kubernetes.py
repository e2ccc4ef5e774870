"""A token's secret as a manifest for `kubectl apply`."""

import re

from tokens.models import AccessToken

MAX_NAME = 253
MANIFEST = """\
apiVersion: v1
kind: Secret
metadata:
  name: {name}
type: Opaque
stringData:
  OSMO_TOKEN: "{secret}"
"""


def manifest(token: AccessToken) -> str:
    """YAML of a Secret that holds what `issue` and `rotate` have just made."""
    return MANIFEST.format(name=secret_name(token.owner.username, token.name), secret=token.plaintext)


def secret_name(owner: str, token: str) -> str:
    """What the Secret of a token is called. It stays the same; tokens of similar names may share it."""
    return safe_name(f"osmo-{owner}-{token}")


def safe_name(text: str) -> str:
    """The text as Kubernetes accepts it for a name: small letters, digits and single hyphens, letters at its ends."""
    return re.sub("[^a-z0-9]+", "-", text.lower())[:MAX_NAME].strip("-")
