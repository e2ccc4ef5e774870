"""What keeps a new file over a loss of power."""

import os
from pathlib import Path


def sync_folder(path: Path) -> None:
    """So that a file that was made there is still found. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
