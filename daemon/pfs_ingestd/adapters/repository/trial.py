"""A repository, only tried: whether it can be written to, and what it would make of a file."""

from collections.abc import Mapping
from typing import NamedTuple

from pfs_ingestd.adapters.repository.batch import stored_artifacts
from pfs_ingestd.adapters.repository.failures import classify
from pfs_ingestd.adapters.repository.items import check_name, items_of
from pfs_ingestd.adapters.repository.memory import query_exposures
from pfs_ingestd.adapters.repository.placing import is_exclusive
from pfs_ingestd.adapters.repository.session import open_session
from pfs_ingestd.adapters.repository.verdicts import Inline, compare
from pfs_ingestd.errors import IngestdError, Rejected
from pfs_ingestd.exposure import Exposure, design_conflict
from pfs_ingestd.ports import Dataset, Outcome, Stored

__all__ = ["Features", "RepositoryTrial"]


class Features(NamedTuple):
    """What a repository is like.

    Parameters
    ----------
    universe : `str`
        Namespace and version of its dimensions.
    observation : `str`
        What it calls a visit.
    datastore : `str`
        URI of its datastore.
    runs : `~collections.abc.Mapping` [`str`, `str`]
        Dataset type -> RUN collection.
    formatters : `~collections.abc.Mapping` [`str`, `str`]
        Dataset type -> full name of what reads it.
    """

    universe: str
    observation: str
    datastore: str
    runs: Mapping[str, str]
    formatters: Mapping[str, str]


class RepositoryTrial:
    """An open repository that is only tried.

    Parameters
    ----------
    root, runs, instrument
        See `~pfs_ingestd.adapters.repository.ingest.open_repository`.
    writeable : `bool`
        Whether it is to be tried whether it can be written to.

    Raises
    ------
    Fatal
        If it lacks what is needed.
    Outage
        If it is not there, or does not answer.
    """

    def __init__(self, root: str, *, runs: Mapping[str, str], instrument: str, writeable: bool) -> None:
        self._session = open_session(root, runs=runs, instrument=instrument, writeable=writeable, trial=True)

    def close(self) -> None:
        """Let go of the repository."""
        self._session.close()

    def features(self) -> Features:
        """Tell what it is like."""
        layout = self._session.layout
        universe = self._session.butler.dimensions
        return Features(
            universe=f"{universe.namespace} {universe.version}",
            observation=layout.observation.name,
            datastore=self._session.datastore.geturl(),
            runs={layout.raw.name: layout.raw_run, layout.config.name: layout.config_run},
            formatters={
                layout.raw.name: layout.raw_formatter.name(),
                layout.config.name: layout.config_formatter.name(),
            },
        )

    def check_writeable(self) -> None:
        """See that registry and datastore can be written to.

        Raises
        ------
        IngestdError
            If not.
        """
        try:
            self._session.check_room(0)
            self._session.check_registry()
        except IngestdError:
            raise
        except Exception as error:
            raise classify(error) from error

    def is_exclusive(self) -> bool:
        """Tell whether no host can overwrite another's artifact, by trying it.

        Either the registry lets in but one of them at a time, or the datastore refuses it.

        Raises
        ------
        IngestdError
            If it cannot be written to.
        """
        try:
            return self._session.is_sqlite or is_exclusive(self._session.datastore)
        except Exception as error:
            raise classify(error) from error

    def outcome(self, dataset: Dataset, exposure: Exposure | None) -> Outcome:
        """Tell what would become of a file, as far as that can be told without storing it.

        Parameters
        ----------
        dataset : `~pfs_ingestd.ports.Dataset`
            The file.
        exposure : `~pfs_ingestd.exposure.Exposure` or `None`
            The record that it would bring, if its exposure has none; `None` if it brings none.

        Raises
        ------
        Rejected
            If it would be rejected.
        IngestdError
            If the repository does not answer.
        """
        check_name(dataset.path)
        session, visit = self._session, dataset.header.visit
        try:
            there = {int(record.id): record for record in query_exposures(session, [visit])}
            if known := there.get(visit):
                claimed = dataset.header.pfs_design_id
                _refuse(design_conflict(visit, claimed=claimed, stored=known.pfs_design_id))
            given = {} if there or exposure is None else {visit: session.data_ids.observation(exposure)}
            items = items_of(session, [dataset], given | there)
            if not items:
                return Outcome(Stored.NO_EXPOSURE)
            artifacts = stored_artifacts(session, items) if there else {}
            compared = compare(artifacts, items, Inline(None)).outcomes
        except IngestdError:
            raise
        except Exception as error:
            raise classify(error) from error
        return compared.get(0, Outcome(Stored.STORED, str(items[0].ref.id)))


def _refuse(conflict: Rejected | None) -> None:
    if conflict is not None:
        raise conflict
