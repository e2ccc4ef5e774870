import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError, CommandParser

from osmo_portal.console.export import FORMATS, in_batches
from osmo_portal.events.actor import Actor
from profiles.management.door import LARGE, NOTHING_MATCHED, many
from tokens.export import COLUMNS, exported, record_export, require_power_to_export
from tokens.management.choosing import ChoosingCommand, said
from tokens.models import AccessToken
from tokens.models.batches import Progress
from tokens.models.token_set import AccessTokenQuerySet


class Command(ChoosingCommand):
    help = (
        "Writes the tokens that match every filter given, the newest first: as CSV for spreadsheets, or as JSON lines "
        "for programs. No secrets, no digests. That it was done becomes an event. Exit code 2 says that none matched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.usage = "%(prog)s FILTER [FILTER ...] --format {csv,jsonl} [--out FILE] [--dry-run]"
        self.add_filters(parser)
        parser.add_argument("--format", choices=FORMATS, dest="form", required=True, help="csv, or jsonl: JSON lines.")
        parser.add_argument(
            "--out",
            type=Path,
            metavar="FILE",
            help="Write to this file, which you alone may read, and print how many on stdout. A file of that name is "
            "replaced once all is written.",
        )
        parser.add_argument("--actor", metavar="USER", help="Who takes it (default: whoever runs the command).")
        parser.add_argument("--dry-run", action="store_true", help="Say how many there are; write nothing.")
        self.add_json(parser)

    def handle(
        self, *args: Any, form: str, out: Path | None, actor: str | None, dry_run: bool, json: bool, **options: Any
    ) -> None:
        if json and out is None and not dry_run:
            raise CommandError("--json tells of the file that --out names. Without it the tokens are on stdout.")
        by = self.acting_as(actor) if actor else Actor.shell()
        tokens = self.chosen(options)
        count = tokens.count()
        if not count:
            raise CommandError("No token matches. Nothing was exported.", returncode=NOTHING_MATCHED)
        if dry_run:
            require_power_to_export(by)
            self.report(f"{many(count, 'token')} would be exported.", count, json=json, dry_run=True, count=count)
            return
        with self._destination(out) as file, self.progress("Exporting tokens", count) as progress:
            record_export(by=by, rows=count, form=form, filters=said(self.given(options)))
            written = _write(file, form, exported(tokens), progress)
        sentence = f"{many(written, 'token')} exported."
        if out is None:
            self.tell(sentence)
        else:
            self.report(sentence, written, json=json, count=written, file=str(out))

    @contextmanager
    def _destination(self, out: Path | None) -> Iterator[Any]:
        try:
            with _whole_file(out) if out else self._open_stdout() as file:
                yield file
        except OSError as error:
            raise CommandError(f"{out or 'stdout'} cannot be written: {error.strerror}.") from error

    @contextmanager
    def _open_stdout(self) -> Iterator[Any]:
        try:
            yield self.stdout
            self.stdout.flush()
        except BrokenPipeError:
            # Whoever read has seen enough, as head has. What is left must go somewhere when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
            raise


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[str]]:
    """A file for its owner alone that gets its name once it is whole, and is gone if it never is."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # with mode 600
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(number)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _write(file: Any, form: str, tokens: AccessTokenQuerySet, progress: Progress | None) -> int:
    """Token after token, so that memory does not grow with them. Returns how many."""
    written = 0

    def watched() -> Iterator[AccessToken]:
        nonlocal written
        for token in in_batches(tokens):
            yield token
            written += 1
            if progress and written % LARGE == 0:
                progress(written)

    _, rows = FORMATS[form]
    file.writelines(rows(COLUMNS, watched()))
    return written
