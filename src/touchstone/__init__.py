"""Touchstone: what is LLM-made training data worth for a clinical model?

Compares gold (experts), silver (LLM labels real text) and bronze (LLM writes text from label
definitions) as training data, each alone and mixed, on one expert-labelled test set. Importing this
package loads nothing heavy: stages import what they need.
"""

__version__ = "0.1.0"
