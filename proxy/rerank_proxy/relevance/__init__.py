"""Whether reranking helps: judgments, runs, and the measures and statistics of them.

A *judgment* is a grade for a document and a query. A *run* is what a system found for each query
(`judgments.py` has both). Measures (`measures.py`) compare the two for each query, and statistics
(`statistics.py`) say whether the differences between systems are more than chance. A system (`systems.py`) is
a search body with a query in it (`templates.py`).

| Room | What it does |
| --- | --- |
| `formats/` | reads and writes files of queries, judgments and clicks |
| `client/` | asks a running proxy, or any other Elasticsearch |
| `evaluation/`, `report/` | the command `evaluate`: what is asked and computed, and what is shown of it |
| `judging/` | the commands `judge`: who judges, and what becomes of it |
| `training/` | the command `train`: models of judgments |

What two or more of them need lies beside them: files that grow as work goes on (`growing.py`, `journal.py`),
errors for the user, progress, workers. Models are known to `training/` alone.
"""
