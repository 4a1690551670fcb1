"""Rank documents: which are kept, in which order, with which scores. Only arithmetic, no input or output."""
