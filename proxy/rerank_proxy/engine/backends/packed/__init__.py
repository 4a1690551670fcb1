"""Run encoders without padding, with the same results up to rounding.

Two things make it faster than the general way:

* the rows of a batch lie end to end (`layout.py`), so that no arithmetic is spent on padding; only attention,
  a small part of the whole, runs by groups of rows of equal length (`attention.py`), or on a GPU in all rows
  at once (`at_once.py`);
* where the head reads only the first token, as most classification heads do, the last layer computes only
  that token. With six layers that saves some 13 % of the arithmetic, with twelve 7 %.

Besides, what depends on the weights alone is computed once when the model is loaded, and what depends on
lengths alone once for a batch; activations and sums are written in place.

Each architecture is one module, which takes linear layers and norms out of a model of transformers and puts
them together from the parts that all share: `attention.py`, `window.py`, `rotary.py`, `layers.py` (the order
of attention, norms and MLP), and `linear.py`, the only place that turns an `nn.Linear` into something to be
called. `families.py` has a line for each `model_type`.

To add one: a module with a function that builds a `body.Body`, and a line in `families.FAMILIES`. A model is
compared with the general way when it is loaded, and keeps to that if its outputs differ.
"""

from rerank_proxy.engine.backends.packed.backend import PackedTorchBackend, probe_tokens, supports
from rerank_proxy.engine.backends.packed.families import MODEL_TYPES

__all__ = ["MODEL_TYPES", "PackedTorchBackend", "probe_tokens", "supports"]
