"""What asks a running proxy, or any other Elasticsearch.

`searching.py` sends requests, waits for a busy server, and says what went wrong; `foreign_answers.py` bounds
and parses what comes back. Above them are `endpoints.py` (scores, and who gives them) and `index_state.py`
(what an index is, and what it holds). `x_rerank.py` reads the header of an answer, and `places.py` says where
in a body an error is.
"""
