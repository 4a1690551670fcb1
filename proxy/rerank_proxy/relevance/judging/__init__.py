"""Judgments in the making: a pool of documents, those who judge them, and what they agree on.

`pool.py` and `pooling.py` collect the documents, `workspace.py` keeps everything of one judging in a
directory, and `acts.py` is what judges do there. Persons judge at a `desk.py` behind `server.py` and
`sessions.py`; an endpoint by `endpoint_judge.py` and `grading.py`. `agreement.py` compares judges,
`settling.py` brings what they said together, and `provenance.py` tells who it was.
"""
