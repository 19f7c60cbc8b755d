"""Prompts: Jinja templates from conf/prompt, rendered with the taxonomy into chat messages.

A prompt variant carries both directions (data-to-label and label-to-data, Li, Wang, Yu 2023) for
each family of tasks. It has a name, a version and a digest; the digest covers the templates and the
taxonomy, so a change of either is seen. Does not send (llm/ask.py) or parse (the stage that asked).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2

from touchstone.digest import digest
from touchstone.errors import UserError
from touchstone.generate import shown
from touchstone.schema import FAMILIES, TEMPLATES, PromptConfig
from touchstone.taxonomy import Taxonomy

# The guideline as text. One rendering for every prompt that shows it, so variants differ only in
# what they mean to vary.
GUIDELINE = """\
Guideline: {{ title }} in {{ documents }} (version {{ version }})
{% if subject %}

A sentence has every category that it states about {{ subject }}; a sentence with no category is none.
{% endif %}

Categories
{% for category in categories %}
{{ category.id }} - {{ category.name }}
  Counts: {{ category.counts }}
{% if category.does_not_count %}
  Does not count: {{ category.does_not_count }}
{% endif %}
{% if category.examples %}
  Example{{ "s" if category.examples | length > 1 }}: {{ category.examples | join(" / ") }}
{% endif %}
{% endfor %}
{% if always_none %}

Always none
{% for rule in always_none %}
- {{ rule }}
{% endfor %}
{% endif %}
{% if several %}

More than one category
{{ several }}
{% endif %}
{% if examples %}

Worked examples
{% for example in examples %}
- {{ example.text }} -> {{ example.labels | join(", ") if example.labels else "none" }}
{% endfor %}
{% endif %}
"""  # noqa: E501


_environment = jinja2.Environment(
    undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=False
)
_guideline_environment = jinja2.Environment(
    undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True
)


@dataclass(frozen=True)
class Prompt:
    """One prompt variant for one family of tasks.

    Attributes
    ----------
    name, version, definitions, n_shots : as in conf/prompt.
    family : `sentences`, `ner` or `relation`.
    templates : stage -> Jinja text; stages are system, data_to_label, label_to_data and, for NER,
        entity_list.
    shared : what every template may use of the taxonomy.
    digest : sha256 over templates, version, n_shots and taxonomy.
    """

    name: str
    version: int
    definitions: bool
    n_shots: int
    family: str
    templates: Mapping[str, str]
    taxonomy: Taxonomy
    shared: Mapping[str, Any]
    digest: str

    def messages(self, stage: str, **variables: Any) -> tuple[dict[str, str], ...]:
        """Render the system message and the user message of `stage`.

        Raises
        ------
        UserError If the variant has no template for the stage, or a template uses a variable that
            does not exist.
        """
        return (
            {"role": "system", "content": self._render("system", self.shared)},
            {
                "role": "user",
                "content": self._render(stage, {**self.shared, **shown.variables(variables)}),
            },
        )

    def _render(self, stage: str, variables: Mapping[str, Any]) -> str:
        where = f"conf/prompt/{self.name}.yaml, {stage}.{self.family}"
        if not self.templates.get(stage):
            raise UserError(f"{where}: this prompt variant has no such template")
        try:
            return _compiled(self.templates[stage]).render(**variables).strip()
        except jinja2.TemplateError as error:
            raise UserError(f"{where}: {error}") from error


def prompt_of(config: PromptConfig, taxonomy: Taxonomy, kind: str) -> Prompt:
    """Bind a prompt variant to a taxonomy for tasks of `kind`.

    Raises
    ------
    UserError
        If the variant has no templates for this kind of task.
    """
    family = FAMILIES[kind]
    templates = {
        stage: text for stage in TEMPLATES if (text := getattr(config, stage).get(family, ""))
    }
    if "system" not in templates:
        there = ", ".join(sorted(config.system)) or "none"
        raise UserError(
            f"conf/prompt/{config.name}.yaml: no templates for {family} tasks (there are: {there})"
        )
    shared = taxonomy_variables(taxonomy)
    identity = {
        "templates": templates,
        "version": config.version,
        "definitions": config.definitions,
        "n_shots": config.n_shots,
        "taxonomy": shared["guideline"],
        "variety": taxonomy.variety,
        "look_alikes": list(taxonomy.look_alikes),
        "facets": {category.id: list(category.facets) for category in taxonomy.categories},
    }
    return Prompt(
        config.name,
        config.version,
        config.definitions,
        config.n_shots,
        family,
        templates,
        taxonomy,
        shared,
        digest(identity),
    )


@lru_cache(maxsize=256)
def _compiled(template: str) -> jinja2.Template:
    """Compile a template once: a stage renders it for every request."""
    return _environment.from_string(template)


def taxonomy_variables(taxonomy: Taxonomy) -> dict[str, Any]:
    """Return what every template may use of the taxonomy: title, subject, documents, categories,
    guideline, ..."""
    fields = {
        "title": taxonomy.title,
        "subject": taxonomy.subject or "the text",
        "documents": taxonomy.documents,
        "marks": taxonomy.marks,
        "version": taxonomy.version,
        "categories": taxonomy.categories,
        "always_none": taxonomy.always_none,
        "several": taxonomy.several,
        "examples": taxonomy.examples,
    }
    fields["guideline"] = (
        _guideline_environment.from_string(GUIDELINE)
        .render(**{**fields, "subject": taxonomy.subject})
        .strip()
    )
    return fields
