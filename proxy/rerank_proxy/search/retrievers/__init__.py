"""One module per retriever: its grammar, validation, rewriting, clauses, combination, matches and
explanation.

`retriever` says what every retriever must have; the phases of a search call it and know no retriever by name.
`types` lists the retrievers. The steps of adding one are in docs/architecture.md.
"""
