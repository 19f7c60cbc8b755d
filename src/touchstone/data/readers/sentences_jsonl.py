"""Read labelled sentences, as in our JSONL of the Hallmarks of Cancer corpus (doc_id, sent, text,
labels): a table like any other, see readers/table.py."""

from touchstone.data.readers.table import KEYS, read

__all__ = ["KEYS", "read"]
