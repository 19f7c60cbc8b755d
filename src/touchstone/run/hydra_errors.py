"""One line for any error: ours as they are, Hydra's boiled down to what was wrong, where, and what
there is instead.

Hydra tells its errors in several lines, and some only by their text: what is read from a text here
was seen in Hydra 1.3.3, and an unknown one is told by its type and first line. Does not print
(console.py does).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence

from touchstone import schema
from touchstone.commands import run_command
from touchstone.errors import UserError, no_such
from touchstone.paths import conf_dirs, conf_file, conf_names

WRITTEN = {
    "hydra.run.dir": "multirun",
    "hydra.sweep.dir": "multirun",
    "paths.cache": ".cache",
}  # key -> where it is by default


def explain(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """Return one line for an exception: ours as they are, Hydra's boiled down, foreign ones with
    the way to the traceback.

    >>> explain(UserError("seeds=0: must be at least 1"))
    'seeds=0: must be at least 1'
    """
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
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
        return (
            f"{plugin[1].replace('_', '-')} is not installed: pip install "
            f"'touchstone-nlp[{plugin[2]}]'{more}"
        )
    if isinstance(chain[0], OSError) and chain[0].errno == errno.ENOSPC:
        return (
            f"{chain[0].filename or 'a file'}: no space left; free some, then the same command "
            "runs just what is missing"
        )
    if (
        isinstance(chain[0], OSError)
        and isinstance(chain[0].filename, str)
        and (message := _explain_unwritable(chain[0], arguments))
    ):
        return message
    for link in chain:
        if (
            mark := getattr(link, "problem_mark", None)
        ) is not None:  # of a YAML that does not parse; names the file where there is one
            return (
                f"{mark.name}, line {mark.line + 1}: not YAML "
                f"({getattr(link, 'problem', None) or 'cannot be read'})"
            )
    for link in chain:
        message = _explain_hydra(link, chain, arguments)
        if message:
            return message
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
        return (
            f"{argument}: a value is missing beside a comma; write {key}=VALUE,VALUE, or quote "
            f"one that holds a comma: '{key}=\"...\"'"
        )
    quoted = value if not set(value) & set("'\"\\") else "..."
    return f"{argument}: not a value that can be read; quote it: '{key}=\"{quoted}\"'"


def _explain_composing(text: str) -> str | None:
    """Name the file, below conf/, that Hydra was reading, and its fault."""
    if not (
        match := re.search(r"In '([^']+)': (?:\w+ raised while composing config:\n)?(.+)", text)
    ):
        return None
    where = f"conf/{match[1]}.yaml"
    if lacking := re.match(r"Could not load '([^']+)/([^'/]+)'", match[2]):
        return f"{where}, defaults: {no_such(lacking[1], lacking[2], options_of(lacking[1]))}"
    key = re.search(r"full_key: (\S+)", text)
    return f"{where}, {key[1]}: {match[2]}" if key else f"{where}: {match[2]}"


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
        match := re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    ):
        return f"{match[1]}={match[2]}: {no_such(match[1], match[2], options_of(match[1]))}"
    if "Ambiguous value for argument" in text and (
        match := re.search(r"Ambiguous value for argument '([^=']+)=([^']*)'", text)
    ):
        group, values = match[1], [value.strip() for value in match[2].split(",")]
        options = options_of(group)
        wrong = [value for value in values if options and value not in options]
        if wrong:
            return f"{match[0].split(chr(39))[1]}: {no_such(group, wrong[0], options)}"
        return (
            f"{group}={match[2]}: several values make a sweep; add -m: "
            f"{run_command(['-m', *arguments])}"
        )
    if (match := re.search(r"Error merging override (\S+)", text)) and (
        why := re.search(r"Value .* could not be converted to \w+", text)
    ):
        return f"{match[1]}: {why[0]}"
    if (
        name in ("ConfigKeyError", "ConfigAttributeError")
        or "not in '" in text
        or "is not in struct" in text
    ):
        if match := re.search(r"Key '([^']+)' (?:is )?not in '?(\w+)'?", text):
            where = re.search(r"full_key: (\S+)", text)
            full = where[1] if where else match[1]
            typed = next(
                (
                    argument
                    for argument in arguments
                    if argument.lstrip("+~").startswith(full + "=")
                ),
                full,
            )
            parent = full.rpartition(".")[0]
            plugin = parent in ("hydra.launcher", "hydra.sweeper")
            keys = (
                _plugin_keys(parent.replace(".", "/"), arguments) if plugin else _fields(match[2])
            )
            if keys:
                return f"{typed}: {no_such('key', match[1], keys)}" + (
                    f" (below {parent})" if parent else ""
                )
            others = (
                [name for name in options_of("hydra/launcher") if name != "basic"]
                if parent == "hydra.launcher"
                else []
            )
            way_out = (
                f"; hydra/launcher=NAME chooses one that has settings: {', '.join(others)}"
                if others
                else ""
            )
            if any(argument.startswith(f"{parent}={{") for argument in arguments):
                way_out = f"; names of one's own are added: '+{parent}={{...}}'"
            return f'{typed}: no key "{match[1]}" below {parent}{way_out}'
    if line := _explain_composing(text):
        return line
    if (
        name == "ConfigCompositionException"
        and (match := re.search(r"Could not override '([^']+)'", text))
        and "No match in the defaults list" in text
    ):
        if match[1] not in _groups():
            return f"{match[1]}: {no_such('config group', match[1], _groups())}"
        typed = next(
            (argument for argument in arguments if argument.startswith(match[1] + "=")),
            f"{match[1]}=...",
        )
        return (
            f"{typed}: conf/config.yaml chooses no {match[1]} that this could replace; write "
            f"+{typed}"
        )
    if line := _explain_group(text, arguments):
        return line
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


def _explain_group(text: str, arguments: Sequence[str]) -> str | None:
    """Say what to write where a value, mostly a file, stands in place of a group of keys."""
    match = re.search(r"(?:is not a subclass of|Cannot assign \w+ to Dict\[str,) (\w+)", text)
    keys = _fields(match[1]) if match else []
    if match is None or not keys:
        return None
    several = "Dict[" in match[0]
    for argument in arguments:
        key, _, value = argument.lstrip("+").partition("=")
        if f"value: {value}" in text or (several and f"full_key: {key}" in text):
            inside = f"path: {value}" if "path" in keys else f"{keys[0]}: ..."
            inside = f"{{NAME: {{reader: table, {inside}}}}}" if several else f"{{{inside}}}"
            return (
                f"{argument}: {key} is a group of keys ({', '.join(keys[:4])}, ...), not a value. "
                f"Write '+{key}={inside}'"
            )
    return None


def options_of(group: str) -> list[str]:
    names = conf_names(group)
    return sorted([*names, "basic"]) if group == "hydra/launcher" else names


def _groups() -> list[str]:
    return sorted(
        {path.name for folder in conf_dirs() for path in folder.iterdir() if path.is_dir()}
    )


def _plugin_keys(group: str, arguments: Sequence[str]) -> list[str]:
    """Return the settings of the launcher or sweeper (`hydra/launcher`) that the arguments choose,
    or of the default one; Hydra's basic launcher has none."""
    from omegaconf import OmegaConf

    chosen = [a.partition("=")[2] for a in arguments if a.startswith(f"{group}=")]
    default = {"hydra/sweeper": "grid"}.get(group, "")
    path = conf_file(f"{group}/{chosen[0] if chosen else default}.yaml")
    return (
        [str(key) for key in OmegaConf.load(path) if key not in ("_target_", "defaults")]
        if path.is_file()
        else []
    )


def _fields(class_name: str) -> list[str]:
    import hydra.conf

    node = getattr(schema, class_name, None) or getattr(hydra.conf, class_name, None)
    return list(getattr(node, "__dataclass_fields__", {})) if node else []
