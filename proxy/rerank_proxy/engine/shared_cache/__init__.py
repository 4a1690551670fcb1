"""The second level of the cache, which replicas share: outputs of models in a store outside of the process.

It may be slow, full, wrong or gone, and no search fails or stalls for it (`shared_cache.py`). What is not
remembered in the process is asked for in one command for all texts of a call, and waited for only briefly.
What was then scored is written in the background. `codec.py` says how keys and values look, `store.py` what a
store has to do; `redis_store.py` is one, imported only where the settings name it (`opening.py`).
"""
