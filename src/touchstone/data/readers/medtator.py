"""Read MedTator's XML, which is laid out as i2b2's: see readers/i2b2_xml.py."""

from touchstone.data.readers.i2b2_xml import KEYS, read

__all__ = ["KEYS", "read"]
