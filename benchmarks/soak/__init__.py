"""A long run of random calls to an engine while it is disturbed in every way that callers may meet.

Tiny models of each kind that is loaded or scored in a way of its own (cross-encoders, embeddings, late
interaction, a generating reranker, a package of Elasticsearch's, windows, a plug-in) share memory that is too
small for all of them. Many callers at once draw calls from a seed: some are cancelled, some have short
deadlines, some bring a text at which the backend raises, gives NaN or too few scores, at which the worker is
lost, or which the tokenizer cannot take. Meanwhile models are added, removed, swapped for others under the
same name, kept loaded, unloaded, evicted and loaded again, and now and then the engine is closed under its
calls, or a batch never returns.

What has to hold:

- Each call ends once, with the scores that its texts get alone, or with an error that fits what was done to
  it.
- After each episode nothing is queued or held, no worker is missing, and the closed engine has left no task
  and no thread behind.
- After the warm-up neither memory nor threads nor open files become more (`leftovers.py`). Memory is what is
  in use: what malloc has given and not taken back, and Python's objects, along a line through all episodes.
  Resident memory has a wide bound beside that, as allocators keep some of what is freed.

`make soak` runs it for ten minutes, and ends with status 1 and the seed when something does not hold. The
seed repeats what is drawn, not when threads run.
"""
