"""The configuration: what is read, what is refused, and how everything that is wrong is told at once."""

import re
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pfs_ingestd.config import (
    Config,
    DatabaseUrl,
    IngestConfig,
    LogConfig,
    NotifyConfig,
    RunsConfig,
    StateConfig,
    StatusConfig,
    WatchConfig,
    WebhookUrl,
    check_config,
    keys,
    load_config,
    load_config_here,
    problems,
)
from pfs_ingestd.errors import Code, Fatal

PROJECT = Path(__file__).parents[2]
EXAMPLES = sorted((PROJECT / "config").glob("*.yaml"))
NO_DURATION = "should be a duration such as 500ms, 2s, 10min, 36h or 1d"
NO_TRANSFER = "should be 'link', 'copy', 'move', 'hardlink', 'symlink', 'relsymlink', 'direct' or 'auto'"
ALONE = "leaves ingestion to workers, who need an inbox in PostgreSQL; state.database is an SQLite file"
UNWRITTEN = "lies in the watched folder /, which is not written to"
HASTY = "300s is shorter than watch.settle, 600s: a file would be given up before it is first read"
MINIMAL = "repository: /data/butler\nwatch:\n  raw: /data/raw\n"


@pytest.fixture
def load(tmp_path):
    def load_text(text, **environ):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load_config(path, environ)

    return load_text


@pytest.fixture
def wrong(tmp_path):
    """Load what is wrong, and return the sentences of the message."""

    def load_text(text, **environ):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        with pytest.raises(Fatal) as caught:
            load_config(path, environ)
        assert caught.value.code is Code.CONFIGURATION
        first, *listed = caught.value.message.splitlines()
        assert first == f"{path}: {len(listed)} problem{'s' if len(listed) > 1 else ''}"
        return [line.strip() for line in listed]

    return load_text


def flat(data, above=""):
    """Name all keys of a YAML document, and their values."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def as_yaml(value):
    """Write a value as one would in a configuration file."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False).split("\n")[0]


def with_(text):
    """Add a section to the least configuration."""
    return f"{MINIMAL}{text}"


def test_a_minimal_file_gets_all_defaults(load, tmp_path):
    """A repository and a folder are enough; every default is as documented."""
    assert load(MINIMAL) == Config.model_construct(
        repository="/data/butler",
        instrument="PFS",
        watch=WatchConfig.model_construct(
            raw=(Path("/data/raw"),),
            pfs_config=(),
            mode="auto",
            settle=timedelta(seconds=2),
            rescan=timedelta(seconds=10),
            follow_links="folders",
            workers=4,
        ),
        ingest=IngestConfig.model_construct(
            transfer="link",
            policy="retry",
            runs=RunsConfig.model_construct(raw=None, pfs_config=None),
            max_attempts=8,
            first_delay=timedelta(seconds=1),
            max_delay=timedelta(minutes=5),
            orphan_after=timedelta(hours=36),
            incomplete_after=timedelta(minutes=5),
            batch_files=500,
            batch_bytes=None,
            probe_interval=timedelta(seconds=5),
            lease=timedelta(minutes=1),
            here=True,
        ),
        state=StateConfig.model_construct(database=DatabaseUrl(f"sqlite:///{tmp_path}/pfs-ingestd.db")),
        status=StatusConfig.model_construct(
            file=tmp_path / "pfs-ingestd.status.json", metrics=None, board=None
        ),
        notify=NotifyConfig.model_construct(
            command=(),
            webhook=None,
            kinds=("visits", "rejections", "outages"),
            interval=timedelta(minutes=5),
            timeout=timedelta(seconds=10),
        ),
        log=LogConfig.model_construct(level="info", format="auto", file=None),
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_configuration_that_we_ship_is_right(path):
    """Each file in config/ loads."""
    assert isinstance(load_config(path, {}), Config)


def test_the_files_that_are_documented_are_shipped():
    """The six configurations are there."""
    expected = ["demo.yaml", "example.yaml", "hilo.yaml", "minimal.yaml", "servers.yaml", "summit.yaml"]
    assert [path.name for path in EXAMPLES] == expected


def test_the_example_has_every_key():
    """config/example.yaml names every key that there is, in the order of the models, and no other."""
    data = yaml.safe_load((PROJECT / "config/example.yaml").read_text())
    assert [key for key, _ in flat(data)] == list(keys())


def test_the_example_shows_the_defaults(load):
    """What config/example.yaml says of a key is what holds without it."""
    example = PROJECT / "config/example.yaml"
    data = yaml.safe_load(example.read_text())
    least = {
        "repository": data["repository"],
        "watch": {key: data["watch"][key] for key in ("raw", "pfsConfig")},
    }
    defaults = load(yaml.safe_dump(least)).model_dump_json().replace(str(Path.cwd()), "")
    shown = load(example.read_text()).model_dump_json().replace(str(Path.cwd()), "")
    assert shown == defaults


def test_the_example_says_something_about_every_key():
    """Each key of config/example.yaml stands below a comment of its own."""
    lines = (PROJECT / "config/example.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in pairwise(lines)
        if re.match(r"\s*\w+: \S", line) and not before.lstrip().startswith("#")
    ]
    assert bare == []


def test_the_documentation_has_every_key_with_its_default():
    """docs/configuration.md has a table of all keys in order, with the defaults of config/example.yaml."""
    text = (PROJECT / "docs/configuration.md").read_text()
    documented = re.findall(r"^\| `([\w.]+)` \| (?:`(.*?)`|(required|none)) \|", text, re.MULTILINE)
    example = dict(flat(yaml.safe_load((PROJECT / "config/example.yaml").read_text())))
    given = {"repository": "required", "watch.raw": "none", "watch.pfsConfig": "none"}
    expected = [(key, given.get(key, as_yaml(value))) for key, value in example.items()]
    assert [(key, default or word) for key, default, word in documented] == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("2s", 2),
        ("1.5min", 90),
        ("36h", 129600),
        ("1d", 86400),
        ("0s", 0),
        ("7", 7),
        ("0.5", 0.5),
    ],
)
def test_durations_are_read_as_people_write_them(load, text, seconds):
    """A number with a unit, or without one for seconds."""
    config = load(f"repository: r\nwatch: {{raw: d, settle: {text}}}\ningest: {{incomplete_after: 9d}}")
    assert config.watch.settle == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GB", 10**9),
        ("2 GiB", 2**31),
        ("1.5kB", 1500),
        ("5MB", 5 * 10**6),
        ("1TiB", 2**40),
        ("77", 77),
        ("8B", 8),
    ],
)
def test_sizes_are_read_as_people_write_them(load, text, size):
    """A number with a unit of bytes, or without one for bytes."""
    assert load(with_(f"ingest: {{batch_bytes: {text}}}")).ingest.batch_bytes == size


@pytest.mark.parametrize(
    "value", ["soon", "2 s s", "-1", "-1s", "1m", "true", "[1]", ".inf", ".nan", "99999d", "''"]
)
def test_what_is_no_duration_is_refused(wrong, value):
    """Anything but a duration is a problem that names its key."""
    (problem,) = wrong(f"repository: r\nwatch: {{raw: d, settle: {value}}}")
    assert problem.startswith("watch.settle: should be ")


@pytest.mark.parametrize("value", ["big", "0", "-4GB", "1GX", "false", "99999999TB"])
def test_what_is_no_size_is_refused(wrong, value):
    """Anything but a size is a problem that names its key."""
    (problem,) = wrong(with_(f"ingest: {{batch_bytes: {value}}}"))
    assert problem.startswith("ingest.batch_bytes: should be ")


@given(milliseconds=st.integers(1, 10**10))
def test_a_duration_means_the_same_in_every_unit(milliseconds):
    """A duration that is written in milliseconds is the one that is given as a number of seconds."""
    written = WatchConfig.model_validate({"settle": f"{milliseconds}ms"}).settle
    assert written == WatchConfig.model_validate({"settle": milliseconds / 1000}).settle


def test_everything_that_is_wrong_is_told_at_once(wrong):
    """Unknown keys, wrong values and impossible combinations are in one message, each with its full key."""
    assert wrong(
        """
        watch:
          raw: [/data/raw, /data/raw, "s3://bucket/raw"]
          setle: 3s
          pfsConfig: 5
        ingest:
          transfer: teleport
          max_attempts: 0
          max_delay: 100ms
          runs: {raws: PFS/raw/mine}
        transfer: copy
        status: 4
        log: {file: /data/raw/log}
        """,
        PFS_INGESTD__WATCH__RESCAN="often",
    ) == [
        "repository: is required",
        "watch.raw[2]: should be a path on this machine, not a URL",
        "watch.pfsConfig[0]: should be a path, not 5",
        f"watch.rescan (from PFS_INGESTD__WATCH__RESCAN): {NO_DURATION}, not 'often'",
        "watch.setle: unknown key; did you mean watch.settle?",
        f"ingest.transfer: {NO_TRANSFER}, not 'teleport'",
        "ingest.runs.raws: unknown key; did you mean ingest.runs.raw?",
        "ingest.max_attempts: should be greater than or equal to 1, not 0",
        "status: should hold keys with values",
        "transfer: unknown key; did you mean ingest.transfer?",
        "watch.raw: /data/raw is named more than once",
        "ingest.max_delay: 0.1s is shorter than ingest.first_delay, 1s",
        "log.file: /data/raw/log lies in the watched folder /data/raw, which is not written to",
    ]


def test_a_wrong_key_is_not_told_a_second_time_by_what_follows_from_it(wrong):
    """A list with nothing right in it is one problem, and a wrong delay is not compared with others."""
    assert wrong("repository: r\nwatch: {raw: [5]}\ningest: {first_delay: x, max_delay: 10ms}") == [
        "watch.raw[0]: should be a path, not 5",
        f"ingest.first_delay: {NO_DURATION}, not 'x'",
    ]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("watch: {}", ["watch: no folder is watched; name at least one under watch.raw or watch.pfsConfig"]),
        (
            "watch: {raw: [/a, /a/b]}",
            ["watch.raw: /a/b lies inside /a, which is watched with all that is below it"],
        ),
        (
            "watch: {raw: /a, settle: 10min}",
            [f"ingest.incomplete_after: {HASTY}"],
        ),
        (
            "watch: {raw: /repo/in}\ningest: {transfer: move}",
            ["ingest.transfer: cannot move files out of /repo/in: it is part of the repository"],
        ),
        (
            "watch: {raw: /}\nstate: {database: postgresql://h/d}",
            [f"repository: /repo {UNWRITTEN}", f"status.file: FOLDER/pfs-ingestd.status.json {UNWRITTEN}"],
        ),
        (
            "watch: {raw: /a}\nstate: {database: /repo/x.db}",
            ["state.database: /repo/x.db lies in the repository, where only Butler writes"],
        ),
        (
            "watch: {raw: /a}\nstate: {database: /x/same}\nstatus: {file: /x/y/../same}",
            ["status.file: /x/same is state.database, too"],
        ),
        (
            "watch: {raw: /a}\nstatus: {metrics: /x/metrics.txt}",
            [
                "status.metrics: /x/metrics.txt does not end in .prom: the node exporter would pass it over",
            ],
        ),
        (
            "watch: {raw: /a}\ningest: {here: false}",
            [f"ingest.here: {ALONE}"],
        ),
        (
            "watch: {raw: /a}\nstatus: {metrics: /a/m.prom}",
            ["status.metrics: /a/m.prom lies in the watched folder /a, which is not written to"],
        ),
    ],
)
def test_settings_that_cannot_go_together_are_refused(wrong, tmp_path, text, problems):
    """Each impossible combination is a problem of its own."""
    expected = [problem.replace("FOLDER", str(tmp_path)) for problem in problems]
    assert wrong(f"repository: /repo\n{text}") == expected


def test_one_tree_may_hold_both_kinds(load):
    """The same folder, or one within the other, may be watched for raws and for pfsConfigs."""
    config = load("repository: r\nwatch: {raw: /a, pfsConfig: [/a, /b]}")
    assert (config.watch.raw, config.watch.pfs_config) == ((Path("/a"),), (Path("/a"), Path("/b")))


def test_relative_paths_start_from_the_folder_of_the_file(load, tmp_path):
    """Where the program was started makes no difference."""
    config = load("repository: r\nwatch: {raw: ../d}\nstate: {database: sqlite:///i.db}\nlog: {file: l}")
    assert (config.repository, config.watch.raw, config.state.database.url, config.log.file) == (
        f"{tmp_path}/r",
        (tmp_path.parent / "d",),
        f"sqlite:///{tmp_path}/i.db",
        tmp_path / "l",
    )


@pytest.mark.parametrize(
    ("repository", "path"),
    [
        ("s3://bucket/x", None),
        ("file:///data/my%20repo", Path("/data/my repo")),
        ("/data/x", Path("/data/x")),
    ],
)
def test_a_repository_may_be_elsewhere(load, repository, path):
    """A URI is left as it is; only paths and file URIs have a place on this machine."""
    config = load(f"repository: {repository}\nwatch: {{raw: /d}}")
    assert (config.repository, config.repository_path) == (repository, path)


def test_a_plain_off_is_a_word(load):
    """YAML reads ``off`` as false; as a mode it is what it says."""
    assert load("repository: r\nwatch: {raw: d, mode: off}").watch.mode == "off"


def test_an_empty_section_has_its_defaults(load):
    """A heading with nothing below it is like no heading."""
    assert load(with_("ingest:\nlog:\n")) == load(MINIMAL)


def test_the_environment_goes_before_the_file(load):
    """Any key can be overridden, also in sections that the file does not have, with values as in the file."""
    config = load(
        MINIMAL,
        PFS_INGESTD__WATCH__RAW="[/x, /y]",
        PFS_INGESTD__INGEST__RUNS__PFSCONFIG="mine",
        PFS_INGESTD__LOG__FILE="null",
        PFS_INGESTD_OTHER="not ours",
    )
    assert (config.watch.raw, config.ingest.runs.pfs_config) == ((Path("/x"), Path("/y")), "mine")


def test_unknown_variables_are_errors(wrong):
    """A variable with our prefix that matches no key, or holds no value, is named."""
    assert wrong(MINIMAL, PFS_INGESTD__WATCH__SETLE="1s", PFS_INGESTD__LOG__FILE="[") == [
        "PFS_INGESTD__LOG__FILE: is not a YAML value; put it in quotes",
        "PFS_INGESTD__WATCH__SETLE: unknown key; did you mean PFS_INGESTD__WATCH__SETTLE?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: ]", ", line 2: expected the node content, but found ']'"),
        ("a: 1\na: 2\n", ", line 2: a is given twice"),
        ("- 1", ": should hold keys with values, such as 'repository: /data'"),
        ("a: \x01", ": is not YAML text"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_line(tmp_path, text, message):
    """A syntax error names the file and the line; a key given twice is one."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(Fatal) as caught:
        load_config(path, {})
    assert caught.value.message == f"{path}{message}"


def test_a_missing_file_is_told(tmp_path):
    """A configuration that is not there is a configuration error with a hint."""
    with pytest.raises(Fatal, match=r"No such file or directory \(name the configuration file with -c\)"):
        load_config(tmp_path / "none.yaml", {})


def test_yaml_cannot_make_objects(tmp_path):
    """The file is data: a tag that would run code is refused."""
    path = tmp_path / "config.yaml"
    path.write_text("repository: !!python/object/apply:os.getcwd []")
    with pytest.raises(Fatal, match=", line 1: could not determine a constructor"):
        load_config(path, {})


@pytest.mark.parametrize(
    "url", ["postgresql://me:s3cret@db/inbox", "postgresql+psycopg2://db/inbox?user=me&password=s3cret"]
)
def test_a_password_is_never_shown(load, url):
    """Neither text nor dump of a configuration has the password of the inbox; only who connects gets it."""
    config = load(with_(f"state: {{database: '{url}'}}"))
    shown = f"{config} {config!r} {config.state.database} {config.model_dump()} {config.model_dump_json()}"
    assert (config.state.database.url, "s3cret" in shown) == (url, False)


@pytest.mark.parametrize(
    "text",
    [
        "repository: http://me:s3cret@db/x",
        "repository: r\nstate: {database: mysql://me:s3cret@db/x}",
        "repository: r\nwatch: {raw: [postgresql://me:s3cret@db/x, 'x://y:s3cret@z']}",
        "repository: r\nlog: {level: 'postgresql://me:s3c/s3cret@db/x'}",
        "repository: r\n'http://me:s3cret@db/x': 1",
    ],
)
def test_a_password_is_never_in_a_message(wrong, text):
    """What is wrong is told without the passwords that are in it."""
    assert "s3cret" not in "".join(wrong(text))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://h/d", "a?b.db"])
def test_an_inbox_that_cannot_last_is_refused(wrong, url):
    """The inbox is a file or a PostgreSQL database."""
    (problem,) = wrong(with_(f"state: {{database: '{url}'}}"))
    assert problem.startswith("state.database: ")


@pytest.mark.parametrize(
    ("database", "lock"), [("/x/inbox.db", "/x/inbox.db.lock"), ("postgresql://h/d", "/y/status.json.lock")]
)
def test_the_lock_lies_beside_the_inbox(load, database, lock):
    """An inbox in PostgreSQL has no folder: its lock lies beside the status file."""
    config = load(with_(f"state: {{database: '{database}'}}\nstatus: {{file: /y/status.json}}"))
    assert config.lock_file == Path(lock)


def test_an_inbox_has_one_lock_whatever_it_is_called(load, tmp_path):
    """A link to an inbox leads to the lock of that inbox."""
    (tmp_path / "link.db").symlink_to(tmp_path / "inbox.db")
    config = load(with_(f"state: {{database: {tmp_path}/link.db}}"))
    assert config.lock_file == tmp_path / "inbox.db.lock"


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("transfer: copy", 10**9),
        ("transfer: move", 10**9),
        ("transfer: link", 2**63 - 1),
        ("transfer: link, batch_bytes: 5MB", 5 * 10**6),
    ],
)
def test_batches_are_bounded_in_bytes_where_bytes_are_copied(load, text, bound):
    """A batch of links is not bounded, one of copies is; what the operator says goes before either."""
    assert load(with_(f"ingest: {{{text}}}")).ingest.byte_bound == bound


def test_checking_looks_at_the_disk_too(tmp_path):
    """What is wrong in the file and what is missing on the disk is reported together."""
    (tmp_path / "file").touch()
    (tmp_path / "there").mkdir()
    path = tmp_path / "config.yaml"
    path.write_text(
        "repository: repo\nwatch: {raw: [none, there, file], setle: 1s}\nstate: {database: gone/i.db}"
    )
    assert check_config(path, {}) == [
        "watch.setle: unknown key; did you mean watch.settle?",
        f"watch.raw: No such file or directory: {tmp_path}/none",
        f"watch.raw: not a folder: {tmp_path}/file",
        f"repository: no repository at {tmp_path}/repo; `pfs-ingestd init {tmp_path}/repo` creates one",
        f"state.database: No such file or directory: {tmp_path}/gone",
    ]


def test_checking_finds_nothing_where_all_is_well(tmp_path):
    """Folders and a repository that are there are no problems."""
    (tmp_path / "data").mkdir()
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/butler.yaml").touch()
    path = tmp_path / "config.yaml"
    path.write_text("repository: repo\nwatch: {raw: data, pfsConfig: data}\nlog: {file: log}")
    assert check_config(path, {}) == []


@pytest.mark.parametrize(
    ("repository", "transfer", "refused"),
    [
        ("datastore: {root: 's3://bucket/store'}", "link", True),
        *(
            ("datastore: {root: 's3://bucket/store'}", transfer, "link" in transfer)
            for transfer in ("hardlink", "symlink", "relsymlink", "copy", "move", "auto", "direct")
        ),
        ("datastore: {root: <butlerRoot>}", "link", False),
        ("datastore: {root: 'file:///store'}", "link", False),
        ("datastore: {datastores: []}", "link", False),
        ("registry: {db: x}", "link", False),
        ("- 1", "link", False),
        ("{", "link", False),
        ("", "link", False),
    ],
)
def test_a_transfer_that_the_datastore_cannot_do_is_found(tmp_path, repository, transfer, refused):
    """There are no links to a store: who checks the configuration learns it as at the start of the daemon."""
    for name in ("data", "repo"):
        (tmp_path / name).mkdir()
    (tmp_path / "repo/butler.yaml").write_text(repository)
    path = tmp_path / "config.yaml"
    path.write_text(
        f"repository: repo\nwatch: {{raw: data, pfsConfig: data}}\nlog: {{file: log}}\n"
        f"ingest: {{transfer: {transfer}}}"
    )
    told = (
        f"ingest.transfer: the transfer mode {transfer} needs a datastore on this machine: there are no links"
        " to s3://bucket/store; set ingest.transfer (or --transfer) to copy or move"
    )
    assert check_config(path, {}) == [told] * refused


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    overrides=st.dictionaries(
        st.sampled_from([*keys(), "watch", "ingest.runs", "log", "nothing", "watch.nothing"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.floats()
            | st.text(max_size=5)
            | st.sampled_from(["2s", "1GB", "x://y"]),
            lambda values: (
                st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values, max_size=2)
            ),
            max_leaves=3,
        ),
    )
)
def test_any_yaml_gives_a_configuration_or_a_list_of_problems(tmp_path, overrides):
    """Whatever the file holds, it is loaded or refused with a message, never a traceback."""
    data = yaml.safe_load(MINIMAL)
    for key, value in overrides.items():
        *above, last = key.split(".")
        section = data
        for name in above:
            if not isinstance(section.get(name), dict):
                section[name] = {}
            section = section[name]
        section[last] = value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    told = check_config(path, {})
    refusal = None
    try:
        load_config(path, {})
    except Fatal as error:
        refusal = error.code
    assert (refusal, bool(told)) in {(None, True), (None, False), (Code.CONFIGURATION, True)}


def test_what_is_wrong_is_told_together_with_what_is_missing(tmp_path):
    """Who starts the daemon learns of an unknown key and of a missing folder in one breath."""
    path = tmp_path / "config.yaml"
    path.write_text("repository: repo\nwatch: {raw: data, setle: 3s}\n")
    with pytest.raises(Fatal) as caught:
        load_config_here(path, {})
    assert caught.value.message.splitlines() == [
        f"{path}: 3 problems",
        "  watch.setle: unknown key; did you mean watch.settle?",
        f"  watch.raw: No such file or directory: {tmp_path}/data",
        f"  repository: no repository at {tmp_path}/repo; `pfs-ingestd init {tmp_path}/repo` creates one",
    ]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("null", ()),
        ("[]", ()),
        ("/usr/local/bin/tell", ("/usr/local/bin/tell",)),
        ("hooks/tell", ("{}/hooks/tell",)),
        ("[/usr/bin/env, FOO=a b, tell]", ("/usr/bin/env", "FOO=a b", "tell")),
        ("['/opt/a tool']", ("/opt/a tool",)),
    ],
)
def test_a_program_and_its_arguments_are_words(load, tmp_path, text, command):
    """No shell reads them; a relative path starts from the folder of the file."""
    expected = tuple(word.format(tmp_path) for word in command)
    assert load(with_(f"notify: {{command: {text}}}")).notify.command == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("command: /bin/tell --loudly", "notify.command: should be a list of words: no shell reads it"),
        (
            "command: [/bin/tell, 3]",
            "notify.command: should be a list of words, such as [/usr/local/bin/tell, --loudly]",
        ),
        ("command: ['']", "notify.command: should be a path, not ''"),
        (
            "kinds: [files]",
            "notify.kinds[0]: should be 'visits', 'rejections' or 'outages', not 'files'",
        ),
        ("interval: 0s", "notify.interval: should be longer than 0s"),
        ("timeout: 0s", "notify.timeout: should be longer than 0s"),
    ],
)
def test_what_cannot_be_told_or_by_nobody_is_refused(wrong, text, problem):
    """Each with its key, and what would be right."""
    assert wrong(with_(f"notify: {{{text}}}")) == [problem]


@pytest.mark.parametrize(
    "url",
    [
        "chat.example.org/s3cret",
        "file:///s3cret",
        "http:///s3cret",
        "https://me:s3cret@chat/x",
        "https://chat/s3cret and more",
        "https://chat/s3cret\\n",
    ],
)
def test_a_webhook_that_cannot_be_used_is_refused_without_being_shown(wrong, url):
    """Only http and https, and no user; a typing mistake in a secret does not make it public."""
    (problem,) = wrong(with_(f'notify: {{webhook: "{url}"}}'))
    assert re.match(r"notify\.webhook: should be (a URL|https://SERVER/PATH)", problem)
    assert "s3cret" not in problem


def test_of_a_webhook_only_the_server_is_shown(load):
    """Whoever prints a configuration does not make its secrets public."""
    config = load(
        MINIMAL, PFS_INGESTD__NOTIFY__WEBHOOK="https://chat.example.org:8443/hooks/s3cret?key=s3cret"
    )
    assert config.notify.webhook == WebhookUrl("https://chat.example.org:8443/hooks/s3cret?key=s3cret")
    shown = f"{config} {config!r} {config.model_dump_json()} {config.notify.webhook}"
    assert ("https://chat.example.org:8443/***" in shown, "s3cret" in shown) == (True, False)


def test_a_program_that_is_not_there_is_found_by_checking_but_stops_nobody(tmp_path):
    """The daemon ingests without it; who checks hears of it."""
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "butler.yaml").touch()
    (tmp_path / "raw").mkdir()
    dull = tmp_path / "dull"
    dull.touch()
    config = tmp_path / "config.yaml"
    base = "repository: repo\nwatch: {raw: raw}\n"
    found = []
    for program in ("missing", "dull"):
        config.write_text(f"{base}notify: {{command: {program}}}\n")
        found += check_config(config, {})
        assert problems(load_config(config, {})) == []
    assert found == [
        f"notify.command: no such program: {tmp_path}/missing",
        f"notify.command: this user may not run {dull}",
    ]
