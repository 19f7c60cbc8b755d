"""Tables and figures as HTML in one self-contained page: no script, font or image from elsewhere;
opens from disk.

The page's style stands in page.html, the only template. All text is escaped; a content security
policy forbids any request.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup, escape

from touchstone.report.tables.layout import Column, Entry, Row, Table, labels_shown

if TYPE_CHECKING:
    from touchstone.report.figures.study import Drawing
    from touchstone.report.study import Study

FIGURES = ()  # they are drawn into the page
PIXELS = 1.8  # on the page for each point of a figure
TEMPLATE = Path(__file__).with_name("page.html")


def write(study: Study, folder: Path) -> list[Path]:
    """Write all tables and figures of a study to one page."""
    from touchstone.report.study import footer

    drawings = [drawing(one) for one in study.figures]
    text = page(
        study.grid.study.replace("_", " "),
        kicker="Tables of a study",
        lead="",
        footer=footer(study),
        answer=[],
        strip=[],
        sections=[("Tables", [table(one) for one in study.tables]), ("Figures", drawings)],
    )
    path = folder / f"{study.grid.study}.html"
    path.write_text(text, encoding="utf-8")
    return [path]


def table(one: Table, link: Callable[[str], str] | None = None) -> Markup:
    """Return a table with caption and notes as a figure element; each number tells its run when
    pointed at, and leads to it where `link` gives the address of a run."""
    head = Markup("")
    if any(column.group for column in one.columns):
        spans = Markup("").join(
            Markup('<th colspan="{}" class="g" scope="colgroup">{}</th>').format(n, group)
            if group
            else Markup('<td colspan="{}"></td>').format(n)
            for group, n in one.groups()
        )
        head += Markup('<tr><td colspan="{}"></td>{}</tr>').format(len(one.heads), spans)
    titles = Markup("").join(Markup('<th scope="col">{}</th>').format(title) for title in one.heads)
    titles += Markup("").join(
        Markup('<th class="n" scope="col">{}</th>').format(column.title) for column in one.columns
    )
    head += Markup("<tr>{}</tr>").format(titles)
    rows = [
        _row(row, labels, one, number, link)
        for number, (row, labels) in enumerate(zip(one.rows, labels_shown(one), strict=True))
    ]
    notes = Markup("").join(Markup("<li>{}</li>").format(note) for note in one.notes)
    return Markup(
        '<figure class="table" id="{}"><h3>{}</h3><div class="scroll" tabindex="0" role="region" '
        'aria-label="{}"><table><thead>{}</thead><tbody>{}</tbody></table></div>'
        "<figcaption>{}{}</figcaption></figure>"
    ).format(
        one.name,
        one.title,
        one.title,
        head,
        Markup("").join(rows),
        one.caption,
        Markup("<ul>{}</ul>").format(notes) if notes else "",
    )


def drawing(one: Drawing) -> Markup:
    """Return a figure with its caption: drawn twice, for wide pages and for phones, of which a page
    shows the one that fits."""
    from touchstone.report.figures.draw import svg

    said = f"{one.caption} {one.told}".strip()
    wide = _inline(svg(one.figure), said, one.name, "wide")
    narrow = _inline(svg(one.narrow()), said, f"{one.name}-narrow", "narrow")
    return Markup(
        '<figure class="drawing" id="{}" tabindex="0">{}{}<figcaption>{}</figcaption></figure>'
    ).format(f"figure-{one.name}", wide, narrow, one.caption)


def _inline(svg: str, said: str, name: str, style: str) -> Markup:
    """Return an SVG element for a page. `svg` is ours (figures.svg); its ids are made unique, since
    several stand in one page."""
    unique = (
        svg.replace('id="', f'id="{name}-')
        .replace("url(#", f"url(#{name}-")
        .replace('href="#', f'href="#{name}-')
    )
    size = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    points = float(size[1]) if size else 400.0
    return Markup(
        unique.replace(
            "<svg",
            f'<svg role="img" class="{style}" aria-label="{escape(said)}" style="max-width: '
            f'{PIXELS * points:.0f}px"',
            1,
        )
    )  # letters of all figures are of one size


def page(title: str, **parts: Any) -> str:
    """Return the page: page.html filled with `parts`.

    `script` is the digest of the one script that may run, '' for none; `contents` what each section
    answers, by its heading.
    """
    parts["contents"] = defaultdict(str, parts.get("contents", {}))
    return _template().render(title=title, **{"script": "", **parts})


def facts(pairs: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Markup:
    """Return a definition list."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return Markup('<dl class="facts">{}</dl>').format(
        Markup("").join(
            Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in items
        )
    )


def _row(
    row: Row,
    shown: tuple[str, ...],
    one: Table,
    number: int,
    link: Callable[[str], str] | None,
) -> Markup:
    classes = ["reference"] if row.reference else []
    if number and row.block != one.rows[number - 1].block:
        classes.append("rule")
    labels = Markup("").join(Markup('<th scope="row">{}</th>').format(label) for label in shown)
    cells = Markup("").join(
        _cell(row.entries.get(column.key), column, link) for column in one.columns
    )
    return Markup('<tr class="{}">{}{}</tr>').format(" ".join(classes), labels, cells)


def _cell(entry: Entry | None, column: Column, link: Callable[[str], str] | None) -> Markup:
    if entry is None:
        return Markup("<td></td>")
    text: Any = escape(entry.shown())
    if entry.word:
        text = Markup('<span class="word">{}</span>').format(text)
    elif entry.best:
        text = Markup("<b>{}</b>").format(text)
    if entry.mark:
        text += Markup("<sup>{}</sup>").format(entry.mark)
    if link is not None and entry.runs:
        text = Markup('<a class="run" href="{}">{}</a>').format(link(entry.runs[0]), text)
    if second := entry.second(column.second):
        text += Markup('<span class="i">{}</span>').format(second)
    return Markup('<td title="{}">{}</td>').format(_told(entry), text)


def _told(entry: Entry) -> str:
    parts = [f"{value}" for value in entry.runs[:1]]
    if entry.p == entry.p:  # not NaN
        parts.append(f"p {entry.p:.4f}")
    if entry.p_holm == entry.p_holm:
        parts.append(f"after Holm {entry.p_holm:.4f}")
    return ", ".join(parts)


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
