"""Ingestion by command: a list of files in, what became of each out; no inbox, no daemon."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pfs_ingestd.errors import Code, Outage, TryLater
from pfs_ingestd.ingester import Ingester
from pfs_ingestd.policy import Patience, noticed
from pfs_ingestd.ports import Clock, Folder
from pfs_ingestd.records import FileRecord, State

__all__ = ["OneShot", "Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    ingested : `bool`
        Whether the repository has it now.
    code, error : `str` or `None`
        Why it was rejected, or ``already_there``.
    """

    path: Path
    ingested: bool
    code: str | None
    error: str | None


class OneShot:
    """Takes files into the repository once, with as many attempts as the policy allows.

    Parameters
    ----------
    folder : `Folder`
        Looks at the files.
    ingester : `Ingester`
        Takes them in.
    clock : `Clock`
        The time.
    patience : `Patience`
        How often and after what delay a file is tried again.
    batch_files : `int`
        Most files in one batch.
    fail_fast : `bool`
        Whether the first rejected file ends it: after its batch, whose other files are put away.
    """

    def __init__(
        self,
        *,
        folder: Folder,
        ingester: Ingester,
        clock: Clock,
        patience: Patience,
        batch_files: int,
        fail_fast: bool,
    ) -> None:
        self._folder = folder
        self._ingester = ingester
        self._clock = clock
        self._patience = patience
        self._batch_files = batch_files
        self._fail_fast = fail_fast

    def ingest(self, paths: Sequence[Path]) -> Iterator[Result]:
        """Ingest files, visit by visit, and tell what became of each as soon as it is known.

        Raises
        ------
        Outage
            If the repository cannot be reached; what was stored until then stays.
        """
        records = []
        for path in paths:
            seen = self._seen(path)
            if isinstance(seen, FileRecord):
                records.append(seen)
                continue
            yield seen
            if self._fail_fast:
                return
        records.sort(key=lambda record: (record.visit, record.path))
        for start in range(0, len(records), self._batch_files):
            results = list(self._ingest(records[start : start + self._batch_files]))
            yield from results
            if self._fail_fast and not all(result.ingested for result in results):
                return

    def _seen(self, path: Path) -> FileRecord | Result:
        try:
            sighting = self._folder.look(path)
        except (Outage, TryLater) as error:
            return Result(path, ingested=False, code=error.code, error=str(error))
        now = self._clock.now()
        record = noticed(None, sighting, closed=True, patience=self._patience, now=now)
        if record is not None:
            return record
        if not path.exists():
            return Result(path, ingested=False, code=Code.VANISHED, error="there is no such file")
        reason = "the name is not that of a file to ingest here"
        return Result(path, ingested=False, code=Code.BAD_NAME, error=reason)

    def _ingest(self, records: Sequence[FileRecord]) -> Iterator[Result]:
        """Ingest one batch; those that may go better later are tried again after their delays."""
        ready = [record.ready(self._clock.now()) for record in records]
        while ready:
            claimed = [record.claimed(self._clock.now()) for record in ready]
            successors = self._ingester.ingest(claimed, {}).successors
            ready = [record for record in successors if record.state is State.READY]
            yield from (_result(record) for record in successors if record.state is not State.READY)
            delays = [record.not_before - self._clock.now() for record in ready if record.not_before]
            if delays:
                self._clock.sleep(max(max(delays).total_seconds(), 0.0))


def _result(record: FileRecord) -> Result:
    return Result(
        record.path,
        ingested=record.state is State.INGESTED,
        code=record.code,
        error=record.error or (None if record.state is State.INGESTED else "the file is no longer there"),
    )
