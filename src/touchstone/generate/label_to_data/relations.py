"""Label-to-data for relations: the LLM writes sentences in which two marked entities are related,
or merely stand together (bronze).

As label_to_data.py, whose requests and attribute grid it uses; in the text the entities are written
as the taxonomy's `marks`, e.g. @GENE$ and @DISEASE$, each exactly once. Judging relations in real
sentences is data_to_label.py with the relation templates. Source: Tang, Han, Jiang, Hu 2023,
section 3.
"""

from __future__ import annotations

import re
from typing import Any

from touchstone.generate.label_to_data import sentences as label_to_data
from touchstone.generate.label_to_data.sentences import bronze, requests
from touchstone.llm.protocol import ParseError, Request
from touchstone.taxonomy import Taxonomy

__all__ = ["bronze", "parse", "requests"]
MARK = re.compile(r"@\w+\$")


def parse(request: Request, text: str, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Read an answer: a list of {"number", "text", "labels"}, one for each line asked.

    Raises
    ------
    ParseError As `label_to_data.parse`, or if a sentence does not hold each mark of the taxonomy
        exactly once and no other.
    """
    entries = label_to_data.parse(request, text, taxonomy)
    for entry in entries:
        if sorted(MARK.findall(entry["text"])) != sorted(taxonomy.marks):
            raise ParseError(
                f"id {entry['number']}: the text must hold {' and '.join(taxonomy.marks)}, each "
                "exactly once"
            )
    return entries
