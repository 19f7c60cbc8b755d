"""Read the discharge summaries or radiology reports of MIMIC-IV-Note.

The file is read as that of MIMIC-III (noteevents.py), with the names of this release's columns.
Source: Johnson, Pollard, Horng, Celi, Mark 2023, MIMIC-IV-Note, version 2.2.
"""

from touchstone.data.readers.noteevents import POOL_KEYS, iter_notes

__all__ = ["POOL_KEYS", "iter_notes"]
