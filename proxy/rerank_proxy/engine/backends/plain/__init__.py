"""Transformers on torch alone, with the names of modules that checkpoints and `packed` know.

Importing transformers to get these few modules costs more than all else that a process does until it first
scores. Source of the arithmetic: the modules `modeling_*.py` of transformers. What does nothing at inference,
such as dropout, is left out. The names of parameters are those of checkpoints.
"""
