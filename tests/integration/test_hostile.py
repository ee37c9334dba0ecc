"""Names, headers, links and settings made by someone who means harm, or by an accident that looks like it."""

import io
import json
import os
from contextlib import closing
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from fuzz import sight, specimens
from hostile import CARDS, FOLDERS, TEXTS, UTF8_FOLDERS, with_card
from in_process import logging_restored
from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.adapters.repository import create_repository, open_repository
from pfs_ingestd.config import load_config
from pfs_ingestd.errors import Code, Fatal, Incomplete, Rejected
from pfs_ingestd.exposure import RawHeader
from pfs_ingestd.logs import configure_logs
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.ports import Dataset, Hint
from pfs_ingestd.records import State, path_text, text_path
from pfs_ingestd.simulate import VisitPlan, write_ccd
from repository_files import a_repository
from station import Station

VISIT = VisitPlan(visit=123456, cameras=("r1", "n1"), small=True)
CCD = VISIT.raw("r1").name
TARGETS = list(enumerate(TEXTS.items(), start=1))


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    [ccd, _, _] = specimens(tmp_path_factory.mktemp("original"))
    return ccd.content


@pytest.fixture
def logged():
    """Log as JSON into memory, and leave logging as it was."""
    stream = io.StringIO()
    with logging_restored():
        configure_logs(level="debug", format="json", file=None, stream=stream)
        yield stream


class TestNames:
    """Names of folders and files."""

    def test_a_folder_may_have_any_name(self, tmp_path, content, logged):
        """Files in folders of any name are found and read, and each line of the log is one object."""
        paths = [tmp_path / "data" / folder / CCD for folder in FOLDERS]
        for path in paths:
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
        station = Station(tmp_path / "data")
        station.settle()

        lines = logged.getvalue().splitlines()
        events = [json.loads(line) for line in lines]
        assert {State.INGESTED} == set(station.states().values())
        assert set(paths) == {
            text_path(event["path"]) for event in events if event["event"] == "file.ingested"
        }
        assert all(line.isascii() and line.isprintable() for line in lines)
        assert json.loads(json.dumps(station.status.written[-1])) == station.status.written[-1]

    def test_the_inbox_holds_any_path(self, tmp_path, content):
        """A record of a file in a folder of any name is found again, by its path and by its folder's."""
        data = tmp_path / "data"
        for folder in FOLDERS:
            (data / folder).mkdir(parents=True)
            (data / folder / CCD).write_bytes(content)
        station = Station(data)
        station.settle()
        records = list(station.inbox.in_state(set(State)))
        with closing(open_inbox(f"sqlite:///{tmp_path}/inbox.db")) as inbox:
            inbox.add(records)
            assert {record.path: record for record in records} == inbox.find([r.path for r in records])
            for folder in FOLDERS:
                assert inbox.names(data / folder) == {CCD: State.INGESTED}

    def test_a_repository_takes_a_file_from_a_folder_of_any_name(self, tmp_path):
        """Files in folders of any UTF-8 name are stored under names of our own, and others are refused."""
        root = a_repository(tmp_path / "repo")
        outcomes = []
        with closing(open_repository(root, transfer="link", runs={}, instrument="PFS")) as repository:
            for visit, folder in enumerate(FOLDERS, start=1):
                plan = VisitPlan(visit=visit, cameras=("r1",), small=True)
                path = tmp_path / "data" / folder / plan.raw("r1").name
                path.parent.mkdir(parents=True)
                write_ccd(path, plan, "r1")
                headers = FitsHeaders()
                [header] = headers.read([sight(path)])
                try:
                    [outcome] = repository.ingest([headers.exposure(header)], [Dataset(path, header)])
                    outcomes.append(Path(outcome.where.removeprefix("file://")).samefile(path))
                except Rejected as error:
                    outcomes.append((error.code, str(error).isprintable()))

        assert [*[True] * len(UTF8_FOLDERS), (Code.UNNAMEABLE, True)] == outcomes

    @pytest.mark.parametrize(
        "name",
        [
            f"{CCD}\n",
            f"\n{CCD}",
            f"{CCD}\0",
            f"{CCD}.gz",
            f" {CCD}",
            f"../{CCD}",
            f"-{CCD}",
            CCD.replace("123456", "\u0661\u0662\u0663\u0664\u0665\u0666"),
            CCD.replace("123456", "1" * 241),
            os.fsdecode(b"\xff" + CCD.encode()),
            "PFSA.fits",
            "",
        ],
    )
    def test_a_name_that_only_looks_like_ours_is_not(self, name):
        """Nothing before, after or within a name makes ours of another's."""
        assert parse(name) is None

    def test_a_folder_that_cannot_be_read_is_told_of_in_one_line(self, tmp_path, monkeypatch):
        """The reason for which the daemon is degraded is one line of text, whatever the folder is called."""
        bad = tmp_path / FOLDERS[0] / FOLDERS[-1]
        bad.mkdir(parents=True)
        real = os.scandir

        def refuse(path):
            if Path(path) == bad:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(os, "scandir", refuse)
        station = Station(tmp_path)
        station.settle()

        reason = station.status.written[-1]["reason"]
        assert reason.startswith(f"{path_text(bad)} cannot be read: Permission denied")
        assert reason.isprintable()


class TestHeaders:
    """Values of cards."""

    @pytest.mark.parametrize(("text", "target"), TEXTS.items())
    def test_a_text_becomes_a_target_or_none(self, tmp_path, content, text, target):
        """A text that FITS allows is the target as it is; any other leaves the target empty."""
        image = b"OBJECT  = '" + text.replace("'", "''").encode("latin-1") + b"'"
        path = tmp_path / CCD
        path.write_bytes(with_card(content, image))
        headers = FitsHeaders()
        [answer] = headers.read([sight(path)])

        if "\0" in text:
            assert isinstance(answer, Incomplete)
        else:
            assert headers.exposure(answer).target_name == target

    def test_strange_cards_are_passed_over(self, tmp_path, content):
        """Cards of no known form, or with bytes that are not ASCII, do no harm to those that we want."""
        plain, strange = tmp_path / CCD, tmp_path / "strange" / CCD
        strange.parent.mkdir()
        plain.write_bytes(content)
        strange.write_bytes(with_card(content, *CARDS))
        expected, answer = FitsHeaders().read([sight(plain), sight(strange)])

        assert isinstance(answer, RawHeader)
        assert expected == answer

    def test_a_long_string_is_cut_to_its_column(self, tmp_path, content):
        """A text of a hundred CONTINUE cards is read in no time, and cut."""
        images = [b"OBJECT  = 'begin &'", *[b"CONTINUE  'and on and on and on &'"] * 10_000]
        path = tmp_path / CCD
        path.write_bytes(with_card(content, *images))
        headers = FitsHeaders()
        [answer] = headers.read([sight(path)])

        name = headers.exposure(answer).target_name
        assert (name[:21], len(name)) == ("begin and on and on a", 64)

    def test_postgresql_and_sqlite_take_every_text(self, tmp_path, postgres):
        """What is made of hostile texts, of corrections too, is stored and read back as it is by both."""
        corrections = tmp_path / "corrections"
        corrections.mkdir()
        odd = "tab\t newline\n bell\x07 \u00e9 \U0001f52d \u202e"
        escaped = '"tab\\t newline\\n bell\\a \\u00e9 \\U0001f52d \\u202e"'
        (corrections / "PFS-90.yaml").write_text(f"OBJECT: {escaped}\nPROP-ID: {escaped}\n")
        (corrections / "PFS-91.yaml").write_text('OBJECT: "a\\0b"\nW_PFDSNM: "\\0"\nW_H4IRPN: 1e300\n')
        (corrections / "PFS-92.yaml").write_text('OBJECT: "\\uD800"\nPROP-ID: "\\uDFFF"\nDATA-TYP: "\\0"\n')
        expected = {number: target for number, (text, target) in TARGETS if "\0" not in text}
        expected |= {90: odd, 91: None, 92: None}
        texts = {number: text for number, (text, _) in TARGETS if number in expected}
        paths = []
        for visit in expected:
            plan = VisitPlan(visit=visit, cameras=("r1",), small=True)
            path = tmp_path / plan.raw("r1").name
            write_ccd(path, plan, "r1")
            text = texts.get(visit, "plain").replace("'", "''").encode("latin-1")
            path.write_bytes(with_card(path.read_bytes(), b"OBJECT  = '" + text + b"'"))
            paths.append(path)
        headers = FitsHeaders(corrections=[corrections])
        answers = headers.read([sight(path) for path in paths])
        assert all(isinstance(answer, RawHeader) for answer in answers), answers

        on_postgresql = str(tmp_path / "postgresql")
        create_repository(on_postgresql, registry=postgres.new_registry())
        for root in (a_repository(tmp_path / "sqlite"), on_postgresql):
            with closing(open_repository(root, transfer="copy", runs={}, instrument="PFS")) as repository:
                repository.ingest(
                    [headers.exposure(answer) for answer in answers],
                    [Dataset(path, answer) for path, answer in zip(paths, answers, strict=True)],
                )
            with Butler.from_config(root) as butler:
                records = butler.query_dimension_records("exposure", instrument="PFS")
                assert expected == {record.id: record.target_name for record in records}


class TestLinks:
    """Links in the watched tree."""

    @pytest.mark.parametrize(("follow_links", "states"), [(False, {}), (True, {CCD: State.INGESTED})])
    def test_a_link_to_a_file_outside_is_followed_only_if_asked(
        self, tmp_path, content, follow_links, states
    ):
        """A link that leads out of the watched tree brings nothing in, by scan or hint, unless it may."""
        (tmp_path / "data").mkdir()
        (tmp_path / "outside.fits").write_bytes(content)
        link = tmp_path / "data" / CCD
        link.symlink_to(tmp_path / "outside.fits")
        station = Station(tmp_path / "data", follow_links=follow_links)
        station.closed(link)
        station.settle()

        assert states == station.states()

    @pytest.mark.parametrize("target", ["/etc/passwd", "/dev/zero", "/proc/self/mem", "nowhere", CCD, "."])
    def test_a_link_to_something_else_under_our_name_is_nothing(self, tmp_path, target):
        """A link of our name to a device, a folder, itself or nowhere brings nothing in."""
        (tmp_path / CCD).symlink_to(target)
        station = Station(tmp_path)
        station.closed(tmp_path / CCD)

        assert station.states() == {}

    def test_a_link_in_the_place_of_a_seen_file_is_not_followed(self, tmp_path, content):
        """A file that becomes a link to a secret before it is read is gone, not read."""
        path = tmp_path / CCD
        path.write_bytes(content)
        station = Station(tmp_path)
        station.tick(Hint(path, closed=False))
        path.unlink()
        path.symlink_to("/etc/passwd")
        station.settle()

        assert (station.states(), station.repository.kept) == ({CCD: State.GONE}, {})

    def test_a_link_to_a_folder_above_is_a_loop(self, tmp_path, content):
        """A link to a folder that the watched one lies in does not make all that is there ours."""
        night = tmp_path / "data" / "night"
        night.mkdir(parents=True)
        (tmp_path / "data" / "private").mkdir()
        (tmp_path / "data" / "private" / CCD).write_bytes(content)
        for number, above in enumerate((tmp_path, tmp_path / "data", Path(".."), Path("../.."))):
            (night / f"up{number}").symlink_to(above)
        station = Station(night)
        station.tick(Hint(night / "up0", closed=False), Hint(night / "up1", closed=True))
        station.settle()

        assert station.states() == {}

    def test_links_between_folders_make_no_loops(self, tmp_path, content):
        """Links up, down, across and in circles bring each file in once."""
        data, store = tmp_path / "data", tmp_path / "store"
        for folder in (data / "night" / "sps", store / "ramps"):
            folder.mkdir(parents=True)
        (data / "night" / "sps" / CCD).write_bytes(content)
        (data / "night" / "up").symlink_to(data)
        (data / "night" / "across").symlink_to("sps")
        (data / "night" / "ramps").symlink_to(store / "ramps")
        (data / "night" / "again").symlink_to(store)
        (store / "ramps" / "back").symlink_to(data)
        (store / "ramps" / "round").symlink_to("round")
        ramps = VisitPlan(visit=7, cameras=("r2",), small=True)
        write_ccd(store / "ramps" / ramps.raw("r2").name, ramps, "r2")
        station = Station(data)
        station.settle()

        assert station.states() == {CCD: State.INGESTED, ramps.raw("r2").name: State.INGESTED}
        assert len(list(station.inbox.in_state(set(State)))) == 2


class TestYaml:
    """Settings and corrections that would run something."""

    HARMFUL = '!!python/object/apply:os.system ["touch {0}"]'

    def test_a_configuration_runs_nothing(self, tmp_path):
        """A configuration with a tag of Python is an error, and nothing else."""
        trace = tmp_path / "trace"
        file = tmp_path / "config.yaml"
        file.write_text(f"repository: {self.HARMFUL.format(trace)}\n")

        with pytest.raises(Fatal) as caught:
            load_config(file, {})
        with pytest.raises(Fatal):
            load_config(tmp_path / "absent.yaml", {"PFS_INGESTD__REPOSITORY": self.HARMFUL.format(trace)})

        assert (caught.value.code, trace.exists()) == (Code.CONFIGURATION, False)

    def test_a_correction_runs_nothing(self, tmp_path, content):
        """A header correction with a tag of Python refuses the file, and does nothing else."""
        trace = tmp_path / "trace"
        (tmp_path / "PFS-123456.yaml").write_text(f"OBJECT: {self.HARMFUL.format(trace)}\n")
        path = tmp_path / CCD
        path.write_bytes(content)
        [answer] = FitsHeaders(corrections=[tmp_path]).read([sight(path)])

        assert (type(answer), answer.code, trace.exists()) == (Rejected, Code.UNREADABLE, False)

    def test_a_correction_that_expands_without_end_is_a_small_thing(self, tmp_path, content):
        """A correction whose anchors multiply to billions is read in no time."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
        (tmp_path / "PFS-123456.yaml").write_text("\n".join([*lines, "OBJECT: *a29", ""]))
        path = tmp_path / CCD
        path.write_bytes(content)
        headers = FitsHeaders(corrections=[tmp_path])
        [answer] = headers.read([sight(path)])

        assert headers.exposure(answer).target_name is None
