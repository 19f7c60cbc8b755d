"""Character offsets as browsers count them: in UTF-16 units, where an emoji is two.

Label Studio and doccano run in browsers; the example table counts characters (code points).
"""

from __future__ import annotations


def to_utf16(text: str, offset: int) -> int:
    """Return a character offset in UTF-16 units.

    Examples
    --------
    >>> to_utf16("a\\U0001F600b", 2)
    3
    """
    return len(text[:offset].encode("utf-16-le", "surrogatepass")) // 2


def from_utf16(text: str, offset: int) -> int:
    """Return an offset in UTF-16 units as one in characters.

    Examples
    --------
    >>> from_utf16("a\\U0001F600b", 3)
    2
    """
    encoded = text.encode("utf-16-le", "surrogatepass")[: 2 * offset]
    return len(encoded.decode("utf-16-le", "surrogatepass"))
