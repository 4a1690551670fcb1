"""Retrievers, one module for each: its grammar, validation, rewriting, clauses, combination, matches and
explanation.

`retriever` defines what every retriever must have; the phases of a search call it and know no retriever by
name. `types` lists the retrievers. docs/architecture.md describes how to add one.
"""
