"""Whether reranking helps: queries, judgments, runs, and the measures and statistics of them.

A *judgment* is a grade for a document and a query. A *run* is what a system found for each query. Measures
(`measures.py`) compare the two for each query, and statistics (`statistics.py`) say whether the differences
between systems are more than chance. Files of other programs are read and written by `reading.py`; searches
are sent by `searching.py`, with the bodies that `templates.py` makes of a query.

Nothing here knows of models: what is measured is a running proxy, or any other Elasticsearch.
"""
