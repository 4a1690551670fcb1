"""Readers of foreign bytes, given bytes that no one has thought of: `make fuzz`.

`targets` has a check for each reader: a function of bytes that raises `AssertionError`, or whatever it did
not expect, if the reader is wrong about them. Where another reader of the same thing exists it is the oracle:
llhttp for HTTP, the standard library for JSON and gzip. `engine` runs a check on bytes that it changes again
and again. With Atheris it keeps those that reach new lines of the readers; without, it changes at random.

`corpus/TARGET/` holds what it begins with, and every input that once failed. `tests/unit/test_fuzz_corpus.py`
checks all of them on each push.
"""
