"""Read UIMA CAS, XMI or JSON, as INCEpTION and cTAKES write it: one file a document.

`options.layer` is the type of the annotations (its last part is enough; null: DKPro's NamedEntity,
or the only custom layer), `options.feature` the feature that holds their type (null: value, or the
only one). XMI needs its type system: TypeSystem.xml beside it, or `options.type_system`. Sentences
are those of DKPro's segmentation where the file has them. Needs dkpro-cassis, which converts UIMA's
UTF-16 offsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, parts
from touchstone.data.annotated import Document, Mention, table_of
from touchstone.errors import UserError, no_such
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, "options", *(key for key in annotated.KEYS if key != "offsets"))
KEY = "corpus.gold.options"
SENTENCE = "de.tudarmstadt.ukp.dkpro.core.api.segmentation.type.Sentence"
ENTITY = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity"
OPTIONS = {"layer", "feature", "type_system"}
UIMA = ("uima.", "de.tudarmstadt.", "org.apache.ctakes.typesystem.type.syntax")
OWN = ("begin", "end", "sofa")


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a folder of .xmi or .json files, or one file; the document's id is the file's name.

    Returns
    -------
    frame, counted : see `annotated.table_of`.

    Raises
    ------
    UserError
        With the file: not UIMA CAS, no type system, a layer or feature to be chosen.
    """
    unknown = set(files.options) - OPTIONS
    if unknown:
        raise UserError(f"{KEY}: {no_such('option', sorted(unknown)[0], OPTIONS)}")
    documents: list[Document] = []
    for part in parts.parts_of(files, data_folder):
        paths = [part.path]
        if part.path.is_dir():
            paths = [*parts.inside(part.path, ".xmi"), *parts.inside(part.path, ".json")]
        if not paths:
            raise UserError(f"{part.path}: no .xmi or .json files in this folder")
        for path in paths:
            cas = _cas(path, files.options)
            layer, feature = _layer(cas, files.options, path)
            text = cas.sofa_string or ""
            documents.append(
                Document(
                    path.stem,
                    text,
                    tuple(_mention(one, feature, text, path) for one in cas.select(layer)),
                    sentences=_sentences(cas, text),
                    split=part.split,
                    origin=part.origin,
                    where=str(path),
                )
            )
    return table_of(documents, files, taxonomy, segmented=True)


def _cas(path: Path, options: Mapping[str, Any]) -> Any:
    try:
        import cassis
    except ImportError:
        raise UserError(
            "corpus.gold.reader=uima_cas needs the package dkpro-cassis: "
            "pip install 'touchstone-nlp[formats]'"
        ) from None
    try:
        if path.suffix == ".json":
            with open(path, "rb") as handle:
                return cassis.load_cas_from_json(handle)
        types = Path(options.get("type_system") or path.parent / "TypeSystem.xml")
        if not types.exists():
            raise UserError(
                f"{path}: no type system {types}. It comes with the export; name it: "
                f"{KEY}={{type_system: FILE}}"
            )
        with open(types, "rb") as system, open(path, "rb") as handle:
            return cassis.load_cas_from_xmi(handle, typesystem=cassis.load_typesystem(system))
    except UserError:
        raise
    except Exception as error:  # what the two parsers raise is of many classes
        raise UserError(
            f"{path}: not UIMA CAS XMI or JSON, or not of this type system ({type(error).__name__})"
        ) from None


def _layer(cas: Any, options: Mapping[str, Any], path: Path) -> tuple[str, str]:
    """Return the full name of the type of the annotations, and its feature."""
    present = sorted({one.type.name for one in cas.select_all() if hasattr(one, "begin")})
    custom = [name for name in present if not name.startswith(UIMA)]
    known = sorted(kind.name for kind in cas.typesystem.get_types())
    layer = options.get("layer")
    if layer is None:
        fitting = [ENTITY] if ENTITY in present or not custom and ENTITY in known else custom
    else:
        fitting = [n for n in known if n == layer or n.rpartition(".")[2] == layer]
    if len(fitting) != 1:
        choices = ", ".join(present) or "none"
        raise UserError(
            f"{path}: which layer holds the annotations? {KEY}={{layer: NAME}}. There are: "
            f"{choices}"
        )
    features = [one.name for one in cas.typesystem.get_type(fitting[0]).all_features]
    features = [name for name in features if name not in OWN]
    chosen = options.get("feature") or ("value" if "value" in features else None)
    if chosen is None and len(features) == 1:
        chosen = features[0]
    if chosen not in features:
        raise UserError(
            f"{path}: which feature of {fitting[0]} holds the type? {KEY}={{feature: NAME}}. "
            f"There are: {', '.join(features) or 'none'}"
        )
    return fitting[0], str(chosen)


def _mention(one: Any, feature: str, text: str, path: Path) -> Mention:
    kind = one.get(feature)
    if kind is None or not 0 <= one.begin < one.end <= len(text):
        raise UserError(
            f"{path}: the annotation {one.begin}..{one.end} has no {feature}, or lies outside the "
            "text. Give it a value in the tool, and export again"
        )
    return Mention(one.begin, one.end, str(kind))


def _sentences(cas: Any, text: str) -> tuple[tuple[int, int], ...] | None:
    if not cas.typesystem.contains_type(SENTENCE):
        return None
    sentences = [(one.begin, one.end) for one in cas.select(SENTENCE)]
    return tuple((a, b) for a, b in sentences if text[a:b].strip()) or None
