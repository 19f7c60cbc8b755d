"""The taxonomy: categories, definitions and precedence, the expert knowledge that prompts, parsers
and tables share.

Read from conf/taxonomy, one YAML a guideline. Does not render prompts (generate/prompts.py) or
count anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from touchstone.errors import UserError, no_such
from touchstone.schema import CategoryConfig, LabelledExample, TaxonomyConfig

NONE = "none"  # the word for "no category" in label files, prompts and tables; never a category id


@dataclass(frozen=True)
class Taxonomy:
    """A checked taxonomy; see `schema.TaxonomyConfig` for the meaning of the fields."""

    name: str
    version: int
    title: str
    subject: str
    documents: str
    positive_name: str
    marks: tuple[str, ...]
    categories: tuple[CategoryConfig, ...]
    always_none: tuple[str, ...]
    several: str
    precedence: tuple[str, ...]
    examples: tuple[LabelledExample, ...]
    variety: dict[str, list[str]]
    look_alikes: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Category ids in the order of the tables."""
        return tuple(category.id for category in self.categories)

    def __getitem__(self, category_id: str) -> CategoryConfig:
        for category in self.categories:
            if category.id == category_id:
                return category
        raise UserError(f"taxonomy {self.name}: {no_such('category', category_id, self.ids)}")

    def primary(self, labels: Iterable[str]) -> str:
        """Return the one label of a sentence for single-label tasks: the first in precedence, or
        `none`."""
        present = set(labels)
        for category_id in self.precedence:
            if category_id in present:
                return category_id
        return NONE

    def ordered(self, labels: Iterable[str]) -> list[str]:
        """Return labels without repetition, in precedence order.

        Raises
        ------
        UserError
            If a label is not a category of this taxonomy.
        """
        present = set(labels)
        unknown = sorted(present - set(self.ids))
        if unknown:
            raise UserError(f"taxonomy {self.name}: {no_such('category', unknown[0], self.ids)}")
        return [category_id for category_id in self.precedence if category_id in present]


def taxonomy_of(config: TaxonomyConfig) -> Taxonomy:
    """Check a taxonomy and return it.

    Raises
    ------
    UserError No category, a repeated id, `none` as an id, a precedence that does not list each
        category once, or an example with an unknown label.
    """
    ids = [category.id for category in config.categories]
    where = f"taxonomy {config.name}"  # as the file calls itself; a copy has another file name
    if not ids:
        raise UserError(f"{where}: no categories")
    repeated = {category_id for category_id in ids if ids.count(category_id) > 1}
    if repeated:
        raise UserError(f"{where}: category {sorted(repeated)[0]!r} stands twice")
    if NONE in ids:
        raise UserError(f'{where}: "{NONE}" is the word for no category and cannot be an id')
    precedence = list(config.precedence) or ids
    if sorted(precedence) != sorted(ids):
        differing = sorted(set(precedence) ^ set(ids)) or sorted(precedence)
        raise UserError(
            f"{where}: precedence must list every category once; look at {', '.join(differing)}"
        )
    for example in config.examples:
        for label in example.labels:
            if label not in ids:
                raise UserError(f"{where}, examples: {no_such('category', label, ids)}")
    return Taxonomy(
        name=config.name,
        version=config.version,
        title=config.title,
        subject=config.subject,
        documents=config.documents,
        positive_name=config.positive_name,
        marks=tuple(config.marks),
        categories=tuple(config.categories),
        always_none=tuple(config.always_none),
        several=config.several,
        precedence=tuple(precedence),
        examples=tuple(config.examples),
        variety={name: list(values) for name, values in config.variety.items()},
        look_alikes=tuple(config.look_alikes),
    )
