"""The status of a daemon that really ran, in each of its states, held against its schema; and as text."""

import json
from importlib.resources import files

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.cli import main
from pfs_ingestd.config import load_config
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.simulate import VisitPlan, write_ccd
from pfs_ingestd.status import LARGEST
from pfs_ingestd.wiring import service
from system.service import write

SCHEMA = json.loads(files("pfs_ingestd").joinpath("status.schema.json").read_text())
VISIT = VisitPlan(visit=77, cameras=("b1",), small=True)


@pytest.fixture
def told(monkeypatch):
    """Keep the text of every status that is written to the file."""
    texts = []
    write_status = StatusFile.write

    def write_and_keep(self, status):
        write_status(self, status)
        texts.append(self._path.read_bytes())

    monkeypatch.setattr(StatusFile, "write", write_and_keep)
    return texts


def run_once(site):
    config = load_config(site.config_file, {"PFS_INGESTD__STATUS__METRICS": "pfs-ingestd.prom"})
    with service(config, {}, once=True) as daemon:
        return daemon.run(once=True)


def printed(site):
    return CliRunner().invoke(main, ["status", "-c", str(site.config_file)]).output.splitlines()


def test_the_status_follows_its_schema_in_every_state(site, told):
    """What a daemon writes while it starts, runs, is degraded, stops and fails is valid, known and small."""
    validator = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
    write(site.data)
    assert run_once(site) is ExitCode.DONE
    assert 'pfs_ingestd_files{state="ingested"} 4.0' in (site.folder / "pfs-ingestd.prom").read_text()
    assert printed(site)[0].startswith("LOOK   stopped ")
    away = site.data.rename(site.folder / "away")
    site.data.mkdir()
    with service(site.config, {}, once=True) as daemon:
        site.data.rmdir()
        daemon.tick(())
        assert printed(site)[0].startswith("ALARM  degraded for ")
    away.rename(site.data)
    site.configure(ingest={"policy": "fail-fast"})
    bad = site.data / VISIT.raw("b1")
    bad.parent.mkdir(parents=True, exist_ok=True)
    write_ccd(bad, VISIT, "b1", cards={"W_SPMOD": 5})
    assert run_once(site) is ExitCode.FAILED_FAST
    assert printed(site)[0].startswith(f"ALARM  failed 0 s ago: {bad}")

    contents = [json.loads(text) for text in told]
    assert [error.message for each in contents for error in validator.iter_errors(each)] == []
    assert {key for each in contents for key in each} == SCHEMA["properties"].keys()
    assert max(map(len, told)) <= LARGEST
    states = {each["state"] for each in contents}
    assert states == set(SCHEMA["properties"]["state"]["enum"])
    done = next(each for each in contents if each["state"] == "stopped")
    assert done["throughput"]["today"]["files"] == done["counts"]["ingested"] == 4
    assert done["disks"].keys() == {"repository", "inbox", "status"}


def test_the_schema_is_sound_and_printed():
    """`status --schema` prints the schema without a configuration, and it is one."""
    Draft202012Validator.check_schema(SCHEMA)
    printed = CliRunner().invoke(main, ["status", "--schema"])
    assert (printed.exit_code, json.loads(printed.output)) == (0, SCHEMA)


def test_the_status_of_another_version_is_no_traceback(site):
    """What this program does not know is told as such, and can still be had as it is."""
    site.status_file.write_text('{"version": 99, "state": "running"}')
    text, raw = (
        CliRunner().invoke(main, ["status", "-c", str(site.config_file), *options])
        for options in ((), ("--json",))
    )
    assert (text.exit_code, raw.exit_code) == (1, 0)
    assert "the status is not of the form that this program knows" in text.stderr
