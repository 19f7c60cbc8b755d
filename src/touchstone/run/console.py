"""The command line of run.py: hands over to Hydra, and tells every mistake in one line.

Hydra prints tracebacks and several lines for a wrong override; here its exceptions are caught,
boiled down to what was wrong, where, and what there is instead. `debug=true` (or
HYDRA_FULL_ERROR=1) shows the traceback. Imports nothing heavy before a cell runs.
"""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from touchstone import schema
from touchstone.commands import run_command
from touchstone.errors import EstimateOnly, MissingRecording, PendingRequests, UserError, no_such
from touchstone.foreign_text import clean_log_lines, printable
from touchstone.llm.secrets import refuse_pasted
from touchstone.paths import conf_dir, conf_dirs, conf_file, conf_names
from touchstone.run import live
from touchstone.run.conf_files import reading_conf
from touchstone.run.help_text import help_text

kept_error: list[Exception] = []  # of a single run, from the job to main

# New objects before Python looks for cycles among them, and such rounds before it looks among older
# ones. With its own 700 it looks through all that was imported and composed again and again and
# finds nothing: a tenth of the time of a single cell, for no memory.
COLLECTED_AFTER = (50_000, 20, 20)

EXIT_OK, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 130

WRITTEN = {
    "hydra.run.dir": "multirun",
    "hydra.sweep.dir": "multirun",
    "paths.cache": ".cache",
}  # key -> where it is by default
# Hydra's flags that take the argument after them
VALUED = (
    "--config-name",
    "-cn",
    "--config-path",
    "-cp",
    "--config-dir",
    "-cd",
    "--package",
    "-p",
    "--cfg",
    "-c",
    "--experimental-rerun",
)
INFOS = (
    "all",
    "config",
    "defaults",
    "defaults-tree",
    "plugins",
    "searchpath",
)  # what may follow --info


def main(arguments: Sequence[str]) -> int:
    """Run Hydra with `arguments` and return the exit status: 0, 1 after an error, 130 after
    Ctrl-C."""
    if "--help" in arguments or "-h" in arguments:
        print(help_text())
        return EXIT_OK
    debug = os.environ.get("HYDRA_FULL_ERROR") == "1" or any(
        argument.replace(" ", "").lower() == "debug=true" for argument in arguments
    )
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting
    gc.set_threshold(*COLLECTED_AFTER)
    clean_log_lines()
    signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's way to ask for an end: as Ctrl-C
    from touchstone.run import sweep  # light: mlflow is imported when a sweep starts

    status, error, unrecorded = EXIT_ERROR, None, False
    kept_error.clear()
    try:
        refuse_pasted(arguments)
        given = [_one_value(argument) for argument in sweep.resume_arguments(arguments)]
        _refuse_empty_globs(given)
        sys.argv = [sys.argv[0], *_overrides_first(given)]
        with reading_conf():
            hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(
                _job
            )()
        status = EXIT_OK
        if kept_error:
            raise kept_error[0]
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
        print(
            "interrupted: what was finished is kept; the same command goes on from there",
            file=sys.stderr,
        )
    except (PendingRequests, EstimateOnly) as stop:
        print(stop)
        status = EXIT_OK if not sweep.is_multirun() else EXIT_ERROR
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else EXIT_ERROR
    except MissingRecording as stop:
        status, error = EXIT_ERROR, None if sweep.is_multirun() else stop
        unrecorded = True
    except sweep.Stopped as stop:
        status, error = EXIT_ERROR, stop.__cause__
    except Exception as raised:  # noqa: BLE001 - the one place where errors are told
        status, error = EXIT_ERROR, raised
    live.stop()
    if error is not None:
        _tell(error, arguments, debug)
    try:
        return max(
            status,
            sweep.close(
                failed=error is not None or unrecorded, interrupted=status == EXIT_INTERRUPTED
            ),
        )
    except Exception as second:  # noqa: BLE001 - as above: the store cannot be written now
        _tell(second, arguments, debug)
        return EXIT_ERROR


def _tell(error: BaseException, arguments: Sequence[str], debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    else:
        print(f"error: {printable(explain(error, arguments))}", file=sys.stderr)


def _interrupt(*_: object) -> None:
    """Handle SIGTERM as a Ctrl-C: by whoever handles that now, so that calls in flight are awaited."""
    signal.raise_signal(signal.SIGINT)


def _one_value(argument: str) -> str:
    """Quote PATH,PATH of llm.recording: two files to replay, where Hydra would read two values of
    an axis.

    >>> _one_value("llm.recording=a.jsonl,b.jsonl")
    'llm.recording="a.jsonl,b.jsonl"'
    """
    key, equals, value = argument.partition("=")
    if key != "llm.recording" or "," not in value or value[:1] in "'\"":
        return argument
    return f'{key}{equals}"{value}"'


def _overrides_first(arguments: Sequence[str]) -> list[str]:
    """Put the flags behind the overrides, since Hydra does not read overrides on both sides of a
    flag.

    >>> _overrides_first(["task=ad_binary", "-m", "mixture=gold,silver", "--cfg", "job"])
    ['task=ad_binary', 'mixture=gold,silver', '-m', '--cfg', 'job']
    """
    if "--" in arguments:
        return list(arguments)
    overrides, flags, rest = [], [], list(arguments)
    while rest:
        argument = rest.pop(0)
        (flags if argument.startswith("-") else overrides).append(argument)
        valued = any(
            argument == flag or argument.startswith("--") and flag.startswith(argument)
            for flag in VALUED
        )
        if rest and (valued or argument in ("--info", "-i") and rest[0] in INFOS):
            flags.append(rest.pop(0))
    return overrides + flags


def _refuse_empty_globs(arguments: Sequence[str]) -> None:
    """Refuse a glob(...) over the values of an axis that matches none: it would be a sweep of no
    cells."""
    if any(
        argument.startswith(("--config-dir", "-cd", "--config-path", "-cp"))
        for argument in arguments
    ):
        return  # values of another folder, too
    for argument in arguments:
        group, _, pattern = argument.partition("=")
        options = _options(group) if pattern.startswith("glob(") else []
        if not options:
            continue
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.core.override_parser.types import Glob
        from hydra.errors import HydraException

        try:
            value = OverridesParser.create().parse_override(argument).value()
        except HydraException:
            continue  # told where Hydra reads it
        if isinstance(value, Glob) and not value.filter(options):
            raise UserError(f"{argument}: matches nothing. There are: {', '.join(options)}")


def _job(composed: DictConfig):
    """What Hydra calls for each cell, in this process or in one of a launcher's."""
    gc.set_threshold(*COLLECTED_AFTER)
    clean_log_lines()
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from touchstone.run.job import run_job

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(
            composed
        )  # Hydra must see the failure, to go on with the other cells and exit with 1
    try:
        return run_job(composed)
    except Exception as error:  # noqa: BLE001 - told by main, without the lines that Hydra would add
        kept_error.append(error)
        return None


def explain(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """Return one line for an exception: ours as they are, Hydra's boiled down, foreign ones with
    the way to the traceback.

    >>> explain(UserError("seeds=0: must be at least 1"))
    'seeds=0: must be at least 1'
    """
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    for link in chain:
        if isinstance(link, UserError):
            return " ".join(str(link).split())
    if plugin := re.search(
        r"Unknown plugin class : 'hydra_plugins\.(hydra_(\w+)_(?:launcher|sweeper))\.",
        str(chain[0]),
    ):
        more = (
            " && pip install --no-deps hydra-ray-launcher==1.2.2" if plugin[2] == "ray" else ""
        )  # its cloudpickle is too old for joblib
        return f"{plugin[1].replace('_', '-')} is not installed: pip install 'touchstone-nlp[{plugin[2]}]'{more}"
    if isinstance(chain[0], OSError) and chain[0].errno == errno.ENOSPC:
        return f"{chain[0].filename or 'a file'}: no space left; free some, then the same command runs just what is missing"
    if (
        isinstance(chain[0], OSError)
        and isinstance(chain[0].filename, str)
        and (told := _explain_unwritable(chain[0], arguments))
    ):
        return told
    for link in chain:
        if (
            mark := getattr(link, "problem_mark", None)
        ) is not None:  # of a YAML that does not parse; names the file where there is one
            return f"{mark.name}, line {mark.line + 1}: not YAML ({getattr(link, 'problem', None) or 'cannot be read'})"
    for link in chain:
        told = _explain_hydra(link, chain, arguments)
        if told:
            return told
    first = (str(chain[0]).strip().splitlines() or ["no message"])[0]
    return f"{type(chain[0]).__name__}: {first} (debug=true shows the traceback)"


def _explain_unwritable(error: OSError, arguments: Sequence[str]) -> str | None:
    """Name the keys to change where a folder for results cannot be made or written, None where the
    error is about another file."""
    path, keys = os.path.abspath(error.filename), []
    for key, default in WRITTEN.items():
        given = next(
            (
                argument.partition("=")[2].strip("'\"")
                for argument in arguments
                if argument.startswith(f"{key}=")
            ),
            default,
        )
        folder = os.path.abspath(given.partition("${")[0] or default)
        if path == folder or path.startswith(folder + os.sep) or folder.startswith(path + os.sep):
            keys.append(f"{key}=FOLDER")
    reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
    return (
        f"cannot write {error.filename}: {reason}; choose another folder with {' or '.join(keys)}"
        if keys
        else None
    )


def _malformed(argument: str) -> str:
    """Say how to write an argument that Hydra cannot read.

    >>> _malformed("foo")
    'foo: not of the form key=value; write key=value'
    """
    key, equals, value = argument.partition("=")
    if not equals or not re.fullmatch(r"[+~]{0,2}[\w@:./-]+", key):
        return f"{argument}: not of the form key=value; write key=value"
    if not all(part.strip() for part in value.split(",")):
        return f"{argument}: a value is missing beside a comma; write {key}=VALUE,VALUE, or quote one that holds a comma: '{key}=\"...\"'"
    quoted = value if not set(value) & set("'\"\\") else "..."
    return f"{argument}: not a value that can be read; quote it: '{key}=\"{quoted}\"'"


def _explain_composing(text: str) -> str | None:
    """Name the file, below conf/, that Hydra was reading, and its fault."""
    if not (
        found := re.search(r"In '([^']+)': (?:\w+ raised while composing config:\n)?(.+)", text)
    ):
        return None
    where = f"conf/{found[1]}.yaml"
    if lacking := re.match(r"Could not load '([^']+)/([^'/]+)'", found[2]):
        return f"{where}, defaults: {no_such(lacking[1], lacking[2], _options(lacking[1]))}"
    key = re.search(r"full_key: (\S+)", text)
    return f"{where}, {key[1]}: {found[2]}" if key else f"{where}: {found[2]}"


def _explain_hydra(
    error: BaseException, chain: Sequence[BaseException], arguments: Sequence[str]
) -> str | None:
    text = "\n".join(str(link) for link in chain)
    name = type(error).__name__
    if name == "OverrideParseException":
        return _malformed(error.override)  # type: ignore[attr-defined]
    if "Could not override ''" in text:
        return _malformed(
            next((argument for argument in arguments if argument.startswith("=")), "=")
        )
    if name == "MissingConfigException" and (
        found := re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    ):
        return f"{found[1]}={found[2]}: {no_such(found[1], found[2], _options(found[1]))}"
    if "Ambiguous value for argument" in text and (
        found := re.search(r"Ambiguous value for argument '([^=']+)=([^']*)'", text)
    ):
        group, values = found[1], [value.strip() for value in found[2].split(",")]
        options = _options(group)
        wrong = [value for value in values if options and value not in options]
        if wrong:
            return f"{found[0].split(chr(39))[1]}: {no_such(group, wrong[0], options)}"
        return f"{group}={found[2]}: several values make a sweep; add -m: {run_command(['-m', *arguments])}"
    if (found := re.search(r"Error merging override (\S+)", text)) and (
        why := re.search(r"Value .* could not be converted to \w+", text)
    ):
        return f"{found[1]}: {why[0]}"
    if (
        name in ("ConfigKeyError", "ConfigAttributeError")
        or "not in '" in text
        or "is not in struct" in text
    ):
        if found := re.search(r"Key '([^']+)' (?:is )?not in '?(\w+)'?", text):
            where = re.search(r"full_key: (\S+)", text)
            full = where[1] if where else found[1]
            wrong = next(
                (
                    argument
                    for argument in arguments
                    if argument.lstrip("+~").startswith(full + "=")
                ),
                full,
            )
            parent = full.rpartition(".")[0]
            keys = _launcher_keys(arguments) if parent == "hydra.launcher" else _fields(found[2])
            if keys:
                return f"{wrong}: {no_such('key', found[1], keys)}" + (
                    f" (below {parent})" if parent else ""
                )
            others = (
                [name for name in _options("hydra/launcher") if name != "basic"]
                if parent == "hydra.launcher"
                else []
            )
            way_out = (
                f"; hydra/launcher=NAME chooses one that has settings: {', '.join(others)}"
                if others
                else ""
            )
            return f'{wrong}: no key "{found[1]}" below {parent}{way_out}'
    if told := _explain_composing(text):
        return told
    if (
        name == "ConfigCompositionException"
        and (found := re.search(r"Could not override '([^']+)'", text))
        and "No match in the defaults list" in text
    ):
        if found[1] not in _groups():
            return f"{found[1]}: {no_such('config group', found[1], _groups())}"
        wrong = next(
            (argument for argument in arguments if argument.startswith(found[1] + "=")),
            f"{found[1]}=...",
        )
        return f"{wrong}: conf/config.yaml chooses no {found[1]} that this could replace; write +{wrong}"
    if name in (
        "ValidationError",
        "UnsupportedValueType",
        "InterpolationKeyError",
        "MissingMandatoryValue",
    ):
        where = re.search(r"full_key: (\S+)", text)
        first = str(error).strip().splitlines()[0]
        return f"{where[1]}: {first}" if where else first
    if name in (
        "ConfigCompositionException",
        "HydraException",
        "ConfigIndexError",
        "GrammarParseError",
    ):
        return " ".join(str(chain[-1]).split())[:400] or None
    return None


def _options(group: str) -> list[str]:
    names = conf_names(group)
    return sorted([*names, "basic"]) if group == "hydra/launcher" else names


def _groups() -> list[str]:
    return sorted(
        {path.name for folder in conf_dirs() for path in folder.iterdir() if path.is_dir()}
    )


def _launcher_keys(arguments: Sequence[str]) -> list[str]:
    """Return the settings of the launcher that the arguments choose; the default one has none."""
    from omegaconf import OmegaConf

    chosen = next(
        (
            argument.partition("=")[2]
            for argument in arguments
            if argument.startswith("hydra/launcher=")
        ),
        "",
    )
    path = conf_file(f"hydra/launcher/{chosen}.yaml")
    return (
        [key for key in OmegaConf.load(path) if key not in ("_target_", "defaults")]
        if path.is_file()
        else []
    )


def _fields(class_name: str) -> list[str]:
    import hydra.conf

    found = getattr(schema, class_name, None) or getattr(hydra.conf, class_name, None)
    return list(getattr(found, "__dataclass_fields__", {})) if found else []
