"""The pages for people, held against the program."""

import ast
import json
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator
from lsst.daf.butler.cli.butler import cli as butler

from older_butler import can_close
from pfs_ingestd.adapters.metrics import Collector
from pfs_ingestd.advice import ADVICE
from pfs_ingestd.cli import main
from pfs_ingestd.config import Config
from pfs_ingestd.doctor.examination import CHECKS
from pfs_ingestd.errors import Code, ExitCode
from pfs_ingestd.figures import Figures
from pfs_ingestd.history import Event
from rig import Rig

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "daemon" / "pfs_ingestd"
README = PROJECT / "README.md"
INSTALL = PROJECT / "docs" / "install.md"
OPERATIONS = PROJECT / "docs" / "operations.md"
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])

newest = pytest.mark.skipif(not can_close, reason="the pages show the newest release of Butler")
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EVENT = re.compile(r"[a-z]+\.[a-z_]+")
KEY = re.compile(r"`((?:watch|ingest|state|status|notify|log)(?:\.\w+)+)`")
FILE_TYPES = {"db", "json", "log", "md", "py", "yaml"}


def text(page):
    return page.read_text(encoding="utf-8")


def name(page):
    return str(page.relative_to(PROJECT))


def section(page, title):
    """Get what stands below a heading, down to the next of the same rank."""
    rank = title.split(" ")[0]
    _, _, rest = text(page).partition(f"\n{title}\n")
    return re.split(rf"^{rank} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(part):
    """Get the cells of all tables, without the rows at their heads."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {number - 1 for number, row in enumerate(cells) if set(row[0]) == {"-"}}
    return [row for number, row in enumerate(cells) if not {number, number - 1} & heads]


def quoted(cells):
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def is_log_call(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "_log"
    )


def is_event(node):
    return isinstance(node, ast.Constant) and bool(EVENT.fullmatch(str(node.value)))


def levels(node):
    """Find the levels named in an expression."""
    return {
        leaf.attr.lower()
        for leaf in ast.walk(node)
        if isinstance(leaf, ast.Attribute) and getattr(leaf.value, "id", "") == "logging"
    }


def events_of(tree):
    """Find the log events of a module, each with the levels that the code names for it."""
    events = defaultdict(set)
    passed_on = set()
    for node in ast.walk(tree):
        if is_log_call(node) and node.args and is_event(node.args[0]):
            events[node.args[0].value].add(node.func.attr.replace("exception", "error"))
        elif is_log_call(node) and node.func.attr not in {"bind", "is_enabled_for", "log"}:
            passed_on.add(node.func.attr)
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and is_event(node.elts[1]):
            events[node.elts[1].value] |= levels(node.elts[0])
        elif is_event(node):
            events[node.value] |= set()
    return {event: found or passed_on for event, found in events.items()}


@cache
def events_in_source():
    """Find all log events; the modules that have any have a logger called ``_log``."""
    events = {}
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(text(path))
        if any(is_log_call(node) for node in ast.walk(tree)):
            events |= events_of(tree)
    return events


def documented_events():
    return {
        quoted([event])[0]: set(level.split(", "))
        for event, level, *_ in rows(section(OPERATIONS, "## Log events"))
    }


def commands(page, program):
    """Get the arguments of each call of a program on a page, in shell examples and within sentences."""
    shell = "\n".join(body for language, body in FENCE.findall(text(page)) if language == "sh")
    lines = [line.partition("  #")[0] for line in shell.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text(page)))
    call = re.compile(rf"\s*(?:sudo (?:-u \S+ )?)?(?:\S*/)?{program} (.*)")
    return [match[1].split() for match in map(call.match, lines) if match]


def check_call(group, arguments):
    """Say what is wrong with a call: a command that is not there, or an option that it does not have."""
    command = group.get_command(click.Context(group), arguments[0])
    if command is None:
        return [f"no command {arguments[0]}"]
    options = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    return [
        f"{arguments[0]} has no option {word}"
        for word in arguments
        if re.match(r"--?[a-z]", word) and word.rstrip(",.;]").lstrip("[") not in options
    ]


def slug(heading):
    """Make the anchor of a heading, as the usual renderers of Markdown do."""
    plain = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower())
    return plain.strip().replace(" ", "-")


def anchors(page):
    outside = FENCE.sub("", text(page))
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", outside, re.MULTILINE)}


def target(page, link):
    path, _, anchor = link.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


def is_broken(page, link):
    file, anchor = target(page, link)
    return not file.exists() or bool(anchor and anchor not in anchors(file))


def keys_of(model, prefix=""):
    """Get the full keys of a configuration, sections included."""
    keys = set()
    for field, info in model.model_fields.items():
        key = prefix + (info.alias or info.validation_alias or field)
        keys.add(key)
        if hasattr(info.annotation, "model_fields"):
            keys |= keys_of(info.annotation, f"{key}.")
    return keys


def test_every_log_event_is_documented():
    """docs/operations.md explains each event of the log, at the levels of the code, and no others."""
    assert documented_events() == events_in_source()


def test_every_code_is_explained():
    """docs/operations.md explains each reason once, and no others."""
    explained = quoted(row[0] for row in rows(section(OPERATIONS, "## Reasons")))
    assert sorted(explained) == sorted(Code)


def test_every_entry_of_a_history_is_explained():
    """docs/operations.md explains each thing that a history can tell, and no others."""
    explained = quoted(row[0] for row in rows(section(OPERATIONS, "### Why was it rejected?")))
    assert sorted(explained) == sorted(Event)


def test_the_advice_of_the_program_is_that_of_the_page():
    """For each reason that a record can have, `show` says what docs/operations.md says, in the same words."""
    advised = (
        section(OPERATIONS, "## Reasons").partition("**Outages")[0]
        + (section(OPERATIONS, "## Reasons").partition("**Not all there.**")[2].partition("**Fatal")[0])
    )
    told = {quoted([row[0]])[0]: re.sub(r"\]\([^)]*\)|[\[`]", "", row[-1]) for row in rows(advised)}
    assert told.keys() == ADVICE.keys()
    assert {code: told[code] for code in told} == {code: ADVICE[code] for code in told}


def test_every_check_of_doctor_is_explained():
    """docs/install.md says what each check looks at, and of no others."""
    explained = quoted(row[0] for row in rows(section(INSTALL, "### Doctor")))
    assert explained == ["configuration", *(check.name for check in CHECKS)]


def test_every_exit_code_is_explained():
    """docs/operations.md explains each exit code by number and name."""
    explained = [(int(row[0]), quoted([row[1]])[0]) for row in rows(section(OPERATIONS, "## Exit codes"))]
    assert explained == [(code.value, code.name) for code in ExitCode]


def test_every_fatal_reason_is_said_to_exit():
    """The exit codes given for reasons exist."""
    given = {int(row[1]) for row in rows(section(OPERATIONS, "## Reasons")) if row[1].isdecimal()}
    assert given == {ExitCode.USAGE, ExitCode.BUG, ExitCode.TRY_AGAIN, ExitCode.CONFIGURATION}


def test_every_key_of_the_status_is_documented():
    """docs/operations.md explains each key of the status file, and no others."""
    schema = json.loads(text(SOURCE / "status.schema.json"))
    documented = quoted(row[0] for row in rows(section(OPERATIONS, "## The status file")))
    assert sorted(documented) == sorted(schema["properties"])
    assert sorted(documented) == sorted(schema["required"])


def test_the_notification_that_is_shown_is_one():
    """The example follows the schema."""
    ((_, example),) = [
        each for each in FENCE.findall(section(OPERATIONS, "### What they get")) if each[0] == "json"
    ]
    schema = json.loads((SOURCE / "notification.schema.json").read_text())
    Draft202012Validator(schema).validate(json.loads(example))


def test_every_metric_is_documented():
    """docs/operations.md explains each metric, with its type, and no others."""
    rig = Rig()
    rig.tick()
    collector = Collector(rig.metrics.written[-1], Figures())
    written = {
        f"{family.name}_{'total' if family.type == 'counter' else 'info'}"
        if family.type in {"counter", "info"}
        else family.name: "gauge" if family.type == "info" else family.type
        for family in collector.collect()
    }
    documented = {
        metric: kind
        for names, kind, _ in rows(section(OPERATIONS, "## Metrics"))
        for metric in quoted([names])
    }
    assert documented == written


@pytest.mark.parametrize("page", PAGES, ids=name)
@pytest.mark.parametrize(
    ("program", "group"), [("pfs-ingestd", main), pytest.param("butler", butler, marks=newest)]
)
def test_the_commands_on_a_page_exist(page, program, group):
    """Each command that a page mentions exists, with the options that it is given."""
    assert [problem for call in commands(page, program) for problem in check_call(group, call)] == []


def test_the_readme_shows_what_there_is_to_type():
    """The README names the two commands of make, and the program's own for looking and for ingesting."""
    targets = set(re.findall(r"^([a-z]+):", text(PROJECT / "Makefile"), re.MULTILINE))
    made = [call[0] for call in commands(README, "make")]
    assert set(made) <= targets
    assert {"demo", "test"} <= set(made)
    called = {call[0] for call in commands(README, "pfs-ingestd")}
    assert {"init", "run", "status", "list", "ingest-raws", "ingest-pfs-config"} <= called


def test_continuous_integration_runs_the_test_command_of_the_readme():
    """`.ci/run` runs the command that the README gives for the tests."""
    assert "make test" in text(PROJECT / ".ci" / "run").splitlines()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page):
    """Each link within the project leads to a file that is there, and to a heading that it has."""
    assert [link for link in LINK.findall(FENCE.sub("", text(page))) if is_broken(page, link)] == []


def test_every_page_can_be_reached_from_the_readme():
    """A reader who follows links from the README finds every page."""
    reached = set()
    waiting = [README]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        waiting.extend(target(page, link)[0] for link in LINK.findall(text(page)))
    assert [name(page) for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_configuration_keys_on_a_page_exist(page):
    """Each key of the configuration that is mentioned exists."""
    known = keys_of(Config) | events_in_source().keys()
    mentioned = {key for key in KEY.findall(text(page)) if key.rpartition(".")[2] not in FILE_TYPES}
    assert mentioned - known == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_speaks_of_no_machine_in_particular(page):
    """No page holds a path of the machine that it was written on."""
    assert re.findall(r"(?<![\w.])/(?:work|tmp|home|root|Users)/\S*", text(page)) == []
