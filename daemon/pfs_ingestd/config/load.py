"""From the configuration file and the environment to a `Config`, or to the list of all that is wrong."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pfs_ingestd.config.model import Config
from pfs_ingestd.config.rules import Problem, conflicts, problems, worries
from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.redaction import redacted

__all__ = ["PREFIX", "check_config", "keys", "load_config", "load_config_here"]

PREFIX = "PFS_INGESTD__"
"""What the names of environment variables begin with that override a key; the levels are parted by ``__``."""

# Stands in for a repository that is not named, so that the other settings can be judged all the same: rules
# about repositories on this machine do not apply to a URI.
_SOMEWHERE = "unknown://"

_SCALAR = (str, int, float, bool)


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the configuration.

    Parameters
    ----------
    path : `~pathlib.Path`
        The YAML file. Relative paths in it start from its folder.
    environ : `~collections.abc.Mapping`
        The environment, whose ``PFS_INGESTD__SECTION__KEY`` go before the file.

    Raises
    ------
    Fatal
        If the file cannot be read, or anything in it is wrong; the message lists everything.
    """
    config, found = _examine(path, environ)
    if config is None or found:
        raise _wrong(path, found)
    return config


def load_config_here(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the configuration for use on this machine.

    As `load_config`, but a configuration that is wrong in itself is compared with the disk, too: who mends it
    need not come back for what is missing there.

    Raises
    ------
    Fatal
        If the file cannot be read, or anything in it is wrong.
    """
    try:
        return load_config(path, environ)
    except Fatal as error:
        raise _wrong(path, check_config(path, environ)) from error


def check_config(path: Path, environ: Mapping[str, str]) -> Sequence[str]:
    """Find everything that is wrong with a configuration, in itself and on the disk.

    Returns
    -------
    problems : `~collections.abc.Sequence` [`str`]
        One sentence each, beginning with the full key; empty if all is well.

    Raises
    ------
    Fatal
        If the file cannot be read at all.
    """
    config, found = _examine(path, environ)
    if config is not None:
        found += _unreported([*problems(config), *worries(config)], found)
    return [redacted(str(problem)) for problem in found]


def _wrong(path: Path, found: Sequence[object]) -> Fatal:
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    listed = "".join(f"\n  {problem}" for problem in found)
    hint = "docs/configuration.md explains each key; check-config finds all mistakes at once"
    return Fatal(Code.CONFIGURATION, redacted(f"{path}: {count}{listed}"), hint=hint)


def keys(model: type[BaseModel] = Config) -> Iterator[str]:
    """Go through the full names of all keys."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{key}.{below}" for below in keys(field.annotation))
        else:
            yield key


def _examine(path: Path, environ: Mapping[str, str]) -> tuple[Config | None, list[Problem]]:
    """Make the best of what there is: where keys are wrong, the `Config` is as if they were absent."""
    data = _read(path)
    found, sources = _override(data, environ)
    context = {"folder": path.absolute().parent}
    try:
        config = Config.model_validate(data, context=context)
    except ValidationError as error:
        details = error.errors(include_url=False)
        found += [_problem(detail, sources) for detail in details]
        for loc in reversed(list(dict.fromkeys(detail["loc"] for detail in details))):
            _take_out(data, loc)
        data.setdefault("repository", _SOMEWHERE)
        try:
            config = Config.model_validate(data, context=context)
        except ValidationError:
            return None, found
    return config, found + _unreported(conflicts(config), found)


def _unreported(candidates: Sequence[Problem], reported: Sequence[Problem]) -> list[Problem]:
    """Leave out those that only follow from a wrong key's being left out."""
    wrong = {problem.key.partition(" ")[0] for problem in reported}
    return [
        problem
        for problem in candidates
        if problem.other not in wrong and not any(_related(problem.key, key) for key in wrong)
    ]


def _related(key: str, other: str) -> bool:
    return key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")


def _read(path: Path) -> dict[Any, Any]:
    try:
        data = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 (a SafeLoader that minds duplicates)
    except OSError as error:
        raise Fatal(
            Code.CONFIGURATION, f"{path}: {error.strerror}", hint="name the configuration file with -c"
        ) from error
    except yaml.YAMLError as error:
        hint = "correct that line: YAML parts words by blanks, and levels by equal indentation"
        raise Fatal(Code.CONFIGURATION, f"{path}{_place(error)}", hint=hint) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Fatal(
            Code.CONFIGURATION,
            f"{path}: should hold keys with values, such as 'repository: /data'",
            hint="config/minimal.yaml shows the least that is needed",
        )
    return data


def _place(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f", line {error.problem_mark.line + 1}: {error.problem}"
    return ": is not YAML text"


def _override(data: dict[Any, Any], environ: Mapping[str, str]) -> tuple[list[Problem], Mapping[str, str]]:
    """Put the overriding values of the environment in their places; tell which key has which source."""
    names = {PREFIX + key.replace(".", "__").upper(): key for key in keys()}
    found: list[Problem] = []
    sources: dict[str, str] = {}
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        if name not in names:
            found.append(Problem(name, f"unknown key{_suggestion(get_close_matches(name, names, n=1))}"))
            continue
        try:
            value = yaml.safe_load(environ[name])
        except yaml.YAMLError:
            found.append(Problem(name, "is not a YAML value; put it in quotes"))
            continue
        *sections, last = names[name].split(".")
        below = data
        for section in sections:
            if below.get(section) is None:
                below[section] = {}
            below = below[section]
            if not isinstance(below, dict):
                break
        else:
            below[last] = value
            sources[names[name]] = name
    return found, sources


def _problem(detail: ErrorDetails, sources: Mapping[str, str]) -> Problem:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    text = _text(detail, key)
    source = sources.get(key.partition("[")[0])
    return Problem(f"{key} (from {source})" if source else key, text)


def _text(detail: ErrorDetails, key: str) -> str:
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key{_suggestion(_resembling(key))}"
        case "missing":
            return "is required"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "should hold keys with values"
        case "value_error":
            return message
        case _ if isinstance(detail["input"], _SCALAR):
            return f"{message}, not {detail['input']!r}"
        case _:
            return message


def _suggestion(names: Sequence[str]) -> str:
    return f"; did you mean {names[0]}?" if names else ""


def _resembling(key: str) -> Sequence[str]:
    known = list(keys())
    leaf = key.rpartition(".")[2]
    elsewhere = [name for name in known if name.rpartition(".")[2] == leaf]
    return elsewhere or get_close_matches(key, known, n=1, cutoff=0.8)


def _take_out(data: dict[Any, Any], loc: Sequence[int | str]) -> None:
    """Remove a wrong value; where one stands in the place of a list of one, remove that."""
    holder: Any = data
    key, *below = loc
    for part in below:
        if not isinstance(holder[key], dict | list):
            break
        holder, key = holder[key], part
    if isinstance(holder, list):
        del holder[int(key)]
    else:
        holder.pop(key, None)


class _Loader(yaml.SafeLoader):
    """Plain YAML, where a key that is given twice is an error and not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 (PyYAML's signature)
        given = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in given:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is given twice", key.start_mark
                )
            given.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep=deep)
