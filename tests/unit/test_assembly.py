"""Which settings a daemon can take over while it runs."""

import pytest

from pfs_ingestd.assembly import changed_for_good
from pfs_ingestd.config import Config, keys

BASE = {"repository": "/data/butler", "watch": {"raw": "/data/raw"}}
RELOADED = {key for key in keys() if key.startswith(("watch.", "ingest.", "log.")) and key != "ingest.lease"}


def config(**changes):
    return Config.model_validate(BASE | changes)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, []),
        ({"watch": {"raw": ["/data/raw", "/more"], "settle": "5s"}}, []),
        ({"ingest": {"transfer": "copy", "runs": {"raw": "PFS/raw/other"}}, "log": {"level": "debug"}}, []),
        ({"repository": "/data/other", "instrument": "PFS-F"}, ["repository", "instrument"]),
        ({"status": {"file": "/run/s.json"}, "log": {"level": "debug"}}, ["status.file"]),
        ({"state": {"database": "postgresql://a:secret@b/c"}}, ["state.database"]),
        ({"ingest": {"lease": "7min", "batch_files": 7}}, ["ingest.lease"]),
    ],
)
def test_what_takes_a_restart_is_named(changes, kept):
    """Watching, ingestion and log can be changed in a process that runs; the rest is refused by its key."""
    assert changed_for_good(config(), config(**changes)) == kept


def test_another_password_is_another_database():
    """It is not shown anywhere, and is noticed all the same."""
    one, other = (config(state={"database": f"postgresql://a:{word}@b/c"}) for word in ("one", "two"))
    assert changed_for_good(one, other) == ["state.database"]


def test_most_keys_can_be_reloaded():
    """The page for operators says which; should sections be added, it is to be decided for them, too."""
    assert {key.partition(".")[0] for key in set(keys()) - RELOADED} == {
        "repository", "instrument", "ingest", "state", "status", "notify",
    }  # fmt: skip
