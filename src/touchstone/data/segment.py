"""Split clinical notes into sentences, as character offsets into the note.

Two steps. First, line breaks: a blank line ends a paragraph; a single line break stays (list lines,
headings, vital signs) unless the line was wrapped, that is, unless its next word would not have
fitted on it any more; the width at which a note was wrapped is estimated from the note. Second,
sentence ends within what then belongs together: `.`, `?` and `!` before something that can begin a
sentence, except after titles, abbreviations, initials and the numbers of list items (`1. DM2: ...
2. HTN: ...`), and never inside a `[**placeholder**]`.

Does not split at semicolons or colons, and does not recognise tables: their lines come out as they
stand. Source: rules of our own, compared with sentence-splitter and pysbd in
benchmarks/segmentation.py. The rules decide what the LLM is asked about, so `VERSION` is part of
the key of everything derived from them.
"""

from __future__ import annotations

import re
from bisect import bisect_right

VERSION = 1

MIN_WIDTH, MAX_WIDTH = (
    50,
    140,
)  # columns at which people and systems wrap notes; shorter lines are list lines
# share of wrapped lines that go on in lower case; in running text about 0.7, in lists near 0
MIN_LOWER = 0.3
SLACK = 20  # columns by which de-identification may have shortened a wrapped line

# A period after these never ends a sentence.
TITLES = frozenset("dr drs mr mrs ms mx prof st sra srta sgt capt lt col rev hon fr".split())
NEVER_LAST = TITLES | frozenset("e.g i.e eg ie vs approx incl cf viz esp resp fig figs al".split())
# A period after these ends a sentence only before a capital, a quotation mark or a placeholder, and
# not as its only word.
OFTEN_INSIDE = frozenset(
    (
        "a.m p.m q.d q.i.d b.i.d t.i.d q.h q.h.s h.s q.o.d p.o p.r.n i.v i.m s.c s.l n.p.o o.d "
        "o.s o.u a.c p.c etc inc co corp jr sr "
        "pt pts hx dx tx rx sx fx tab tabs cap caps dept div ext ave blvd rd apt est avg max temp "
        "resp ref appt "
        "mon tue tues wed thu thur thurs fri sat sun"
    ).split()
)
# "No. 9", "Jan. 5", "ca. 1990", but "pancreatic ca. PCP referral"
NUMBER_NEXT = frozenset(
    "no nos p pp vol ch sec art para ca jan feb mar apr jun jul aug sept sep oct nov dec".split()
)
# Capitalised words that begin sentences, to tell "Hep C. He drinks." from "John F. Kennedy".
STARTERS = frozenset(
    (
        "a all also an and any as at both but by did does exam for family had has he her his if "
        "in is it its labs last lives mother "
        "father no none not now of on patient per plan pt she since so the their there they this "
        "today we when wife husband will with"
    ).split()
)

PLACEHOLDER = re.compile(
    r"\[\*\*[^\[]{0,120}?\*\*\]"
)  # may hold a line break; one that is never closed is not one
MARKER_LINE = re.compile(r"\s*(?:\d{1,2}[.)]|[-*•·+#>])\s*\Z")  # a list marker alone on its line
BULLET = re.compile(r"(?:[-*•·+#>=]|\(?[a-zA-Z0-9][)])\s")
ITEM_LINES = 100  # how far above a list item the one before it may begin
ITEM = re.compile(r"(\d{1,2})[.)]\s")
# end of a word, terminators, closing quotes and brackets, white space, then what follows
# (the first mark of a run begins it, and nothing is given back: linear for 20 kB of dots)
END = re.compile(
    r"(?<![.?!])([.?!]++)([\"'”’)\]]*+)(\s++)(?=(\S))|(?<=[a-z]{3}[a-z)])(\.)()()(?=([A-Z][a-z]))"
)
WORD_BEFORE = re.compile(r"[^\s(\[\"“'/,:;-]*\Z")
PATIENT = re.compile(
    r"\d{1,3} ?(?:[MF]\b|yo\b|y/o|y\.o|-?years?-? ?old)"
)  # how a note introduces a patient: "78M home from ..."
SHORTHAND = re.compile(
    r"(?:d/c|c/o|s/p|f/u|r/o|h/o|w/|pt)\b", re.IGNORECASE
)  # begins sentences even in lower case
LOWER_START = re.compile(r"[a-z]{3}[.?!]\s+[a-z]")
CAPITAL_START = re.compile(r"[.?!]\s+[A-Z]")
# share of sentence ends before a small letter from which a note counts as written without capitals
MIN_LOWER_STARTS = 0.25
LOOK_BACK = (
    64  # characters looked at before a period; keeps the work linear in the length of the note
)
NEXT_WORD = re.compile(r"\w*")
OPENERS = "\"'“‘([{"


def segment(text: str) -> list[tuple[int, int]]:
    """Return the sentences of a note as character offsets.

    Parameters
    ----------
    text : the note as it stands in the corpus; `\\n` and `\\r\\n` line ends, wrapped or not.

    Returns
    -------
    list of (start, end), end exclusive, increasing and not overlapping. Each begins and ends with a
    character that is not white space, and every such character of the text is in exactly one
    sentence. A line without any letter or digit (a rule such as `-----`) belongs to the sentence
    before it. An empty text has no sentences.

    Examples
    --------
    >>> segment("Seen by Dr. Lee at 3 p.m. today. 1. DM2: stable. 2. HTN.")
    [(0, 32), (33, 48), (49, 56)]
    """
    inside = _placeholders(text)
    small = _writes_small(text)
    out: list[tuple[int, int]] = []
    for start, end in _chunks(text, inside):
        for first, last in _sentences_of(text, start, end, inside, small):
            if out and not any(map(str.isalnum, text[first:last])):
                out[-1] = (out[-1][0], last)
            elif out and not any(map(str.isalnum, text[out[-1][0] : out[-1][1]])):
                out[-1] = (
                    out[-1][0],
                    last,
                )  # a rule at the top of the note goes to its first sentence
            else:
                out.append((first, last))
    return out


def sentences(text: str) -> list[str]:
    """Return the sentences of a note with white space collapsed to single spaces.

    >>> sentences("Alert  and oriented.\\nNo\\tcomplaints.")
    ['Alert and oriented.', 'No complaints.']
    """
    return [" ".join(text[start:end].split()) for start, end in segment(text)]


def _placeholders(text: str) -> tuple[list[int], list[int]]:
    if "[**" not in text:
        return [], []
    spans = [match.span() for match in PLACEHOLDER.finditer(text)]
    return [start for start, _ in spans], [end for _, end in spans]


def _within(position: int, inside: tuple[list[int], list[int]]) -> bool:
    at = bisect_right(inside[0], position) - 1
    return at >= 0 and position < inside[1][at]


def _writes_small(text: str) -> bool:
    """Whether the author begins sentences with small letters, as many nursing notes do."""
    lower = len(LOWER_START.findall(text))
    return lower > 1 and lower >= MIN_LOWER_STARTS * (lower + len(CAPITAL_START.findall(text)))


# --- line breaks
# ----------------------------------------------------------------------------------------------


def _chunks(text: str, inside: tuple[list[int], list[int]]) -> list[tuple[int, int]]:
    """Join wrapped lines: return offsets of runs of lines that belong together, white space at both
    ends left out."""
    chunks: list[tuple[int, int]] = []
    block: list[tuple[int, int]] = []
    blocks: list[list[tuple[int, int]]] = []
    at = 0
    for line in text.split("\n"):
        stripped = len(line.rstrip())
        if stripped:
            block.append((at, at + stripped))
        elif block:
            blocks.append(block)
            block = []
        at += len(line) + 1
    if block:
        blocks.append(block)
    width = wrap_width(text, blocks)
    for block in blocks:
        chunks += _join(text, block, width, inside)
    return chunks


def wrap_width(text: str, blocks: list[list[tuple[int, int]]]) -> int | None:
    """Return the column at which a note was wrapped, or None if it was not.

    A wrapped line of length a before a word of length w was wrapped at some width in [a, a + w].
    The width is the one that lies in the most of these intervals (the widest of these in a tie), if
    enough of the lines so explained go on in lower case.

    Parameters
    ----------
    text : the note.
    blocks : for each paragraph the (start, end) of its lines, white space at the end left out.
    """
    steps = [0] * (MAX_WIDTH + 2)
    pairs = []
    for block in blocks:
        for (start, end), (follow, follow_end) in zip(block, block[1:], strict=False):
            length = end - start
            if length > MAX_WIDTH:
                continue
            word = text[follow:follow_end].split(None, 1)[0]
            high = min(length + len(word), MAX_WIDTH)
            steps[length] += 1
            steps[high + 1] -= 1
            pairs.append((length, high, word[0].islower()))
    best, width, here = 0, None, 0
    for column in range(MAX_WIDTH + 1):
        here += steps[column]
        if column >= MIN_WIDTH and here >= best and here > 0:
            best, width = here, column
    if width is None:
        return None
    lower = sum(is_lower for low, high, is_lower in pairs if low <= width <= high)
    return width if lower >= MIN_LOWER * best else None


def _join(
    text: str, block: list[tuple[int, int]], width: int | None, inside: tuple[list[int], list[int]]
) -> list[tuple[int, int]]:
    """Join the lines of one paragraph that were wrapped at `width`."""
    if width is not None:
        words = [text[start:end].split(None, 1)[0] for start, end in block]
        full = [
            end - start <= width < end - start + 1 + len(word)
            for (start, end), word in zip(block, words[1:], strict=False)
        ]
        list_like = sum(full) * 2 < len(full)
    chunks: list[tuple[int, int]] = []
    for number, (start, end) in enumerate(block):
        first = start + len(text[start:end]) - len(text[start:end].lstrip())
        if number == 0:
            joined = False
        elif MARKER_LINE.match(text, *block[number - 1]) or _within(start, inside):
            joined = True
        elif width is None:
            joined = False
        else:
            before = block[number - 1]
            lower = text[first].islower()
            joined = full[number - 1] and (lower or not list_like)
            if (
                lower
                and text[before[1] - 1] not in ".?!:;"
                and before[1] - before[0] >= width - SLACK
            ):
                joined = True
            if BULLET.match(text, first, end) or _next_item(
                text, first, block[max(0, number - ITEM_LINES) : number]
            ):
                joined = False
        if joined:
            chunks[-1] = (chunks[-1][0], end)
        else:
            chunks.append((first, end))
    return chunks


def _next_item(text: str, first: int, above: list[tuple[int, int]]) -> bool:
    """Whether a line begins with the number that continues a list: `3. ...` with a `2. ...` in the
    lines above, or a 1."""
    match = ITEM.match(text, first)
    if not match or match[1] == "1":
        return bool(match)
    before = int(match[1]) - 1
    return any(
        int(item[1]) == before for start, end in above for item in ITEM.finditer(text, start, end)
    )


# --- sentence ends
# ----------------------------------------------------------------------------------------------


def _sentences_of(
    text: str, start: int, end: int, inside: tuple[list[int], list[int]], small: bool
) -> list[tuple[int, int]]:
    """Split text[start:end], which begins and ends without white space, at its sentence ends."""
    out = []
    first = start
    for match in END.finditer(text, start, end):
        group = 1 if match[1] else 5
        at, last, follow = match.start(group), match.end(group + 1), match.end()
        if _ends_sentence(text, first, at, match[group], match[group + 1], follow, small) and not (
            inside[0] and _within(at, inside)
        ):
            out.append((first, last))
            first = follow
    out.append((first, end))
    return out


def _ends_sentence(
    text: str, first: int, at: int, marks: str, closers: str, follow: int, small: bool
) -> bool:
    """Whether the terminator at `at` ends the sentence that began at `first`, seen what follows at
    `follow`."""
    following = text[follow]
    lower = (
        following.islower() and not text[follow + 1 : follow + 2].isupper()
    )  # "mCTSIB" and the like begin sentences
    if lower and (closers or not (small or SHORTHAND.match(text, follow))):
        return False
    if (
        following in OPENERS
        and text[follow + 1 : follow + 2].islower()
        and (closers or marks != ".")
    ):
        return False
    if text[at - 1].isspace() or marks != ".":
        return "?" not in marks or not text[at - 1].isspace()  # "septic shock ? source biliary"
    if closers:
        return True
    before = WORD_BEFORE.search(text, max(first, at - LOOK_BACK), at)
    word = before[0] if before else ""  # the pattern matches nothing at least
    low = word.lower()
    if not word:
        return at > first
    if word.isdigit():
        return not _is_marker(text, first, at, word)
    if low in NEVER_LAST or (low in NUMBER_NEXT and (following.isdigit() or lower)):
        return False
    if low in OFTEN_INSIDE or ("." in low and low[0].isalpha()):
        if lower or follow == at + 1 or at - len(word) == first:
            return False
        return not following.isdigit() or bool(PATIENT.match(text, follow))
    if len(word) == 1 and word.isalpha():
        return not lower and (word.islower() or _ends_after_initial(text, first, at, follow))
    return True


def _is_marker(text: str, first: int, at: int, word: str) -> bool:
    """Whether a number before a period is that of a list item: at the start of a sentence, or a 1
    after a colon."""
    if len(word) > 2:
        return False
    before = text[max(first, at - LOOK_BACK) : at - len(word)].rstrip()
    return not before or (word == "1" and before[-1] == ":")


def _ends_after_initial(text: str, first: int, at: int, follow: int) -> bool:
    """Whether a single capital and its period end a sentence: `vitamin D. She` does, `Mrs. D.
    Smith` and `E. Coli` do not."""
    before = text[max(first, at - LOOK_BACK) : at - 1].split()
    if not before:
        return False
    previous = before[-1].rstrip(".").lower()
    after = NEXT_WORD.match(text, follow)
    next_word = after[0] if after else ""
    if previous in TITLES or before[-1][0].isupper():
        return next_word.lower() in STARTERS or not next_word[1:].islower()
    return True
