"""Files for new secrets: made by us, read by their owner alone, and on the disk before a rotation counts."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from django.core.management.base import CommandError

from osmo_portal.durable import sync_folder
from tokens import kubernetes
from tokens.models import AccessToken


class SecretFile:
    """A new file of mode 600, with `kept` secrets in it. `form` writes what `rotate` has returned as text.

    What is there already, a symbolic link included, is refused: nothing is overwritten. Nothing is taken back either,
    since a commit that seems to have failed may have reached the database. So the last entry, and that alone, may be
    broken off, or belong to a rotation that did not happen.
    """

    def __init__(self, path: Path, form: Callable[[AccessToken], str]) -> None:
        self.path, self.kept, self._form = path, 0, form
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
            sync_folder(path.parent)
        except FileExistsError:
            raise CommandError(f"{path} is there already. Give a new file: nothing is overwritten.") from None
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}. Nothing was changed.") from None

    def keep(self, token: AccessToken) -> None:
        """Returns when the secret is on the disk. Raises OSError where it may not be."""
        rest = self._form(token).encode()
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fsync(self._descriptor)
        self.kept += 1

    def close(self) -> None:
        os.close(self._descriptor)


def as_line(token: AccessToken) -> str:
    """One JSON object in one line."""
    facts = {"id": token.pk, "name": token.name, "owner": token.owner.username, "secret": token.plaintext}
    return json.dumps(facts | {"old_secret_ends": token.old_secret_ends.isoformat()}) + "\n"


def as_document(token: AccessToken) -> str:
    """A document of a YAML file of many."""
    return f"---\n{kubernetes.manifest(token)}"
