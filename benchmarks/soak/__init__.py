"""A long run of random calls to an engine while it is disturbed in every way that callers may meet.

Tiny models of several families, one of a plug-in, share memory that is too small for all of them. Many
callers at once draw calls from a seed: some are cancelled, some have short deadlines, some bring a text at
which the backend raises, gives NaN or too few scores, or which the tokenizer cannot take. Meanwhile models
are added, removed, reserved, unloaded and loaded again, and now and then the engine is closed under its
calls.

What has to hold: each call ends once, with the scores that its texts get alone, or with an error that fits
what was done to it; after each episode nothing is queued or held; and memory stays flat. `make soak` runs it
for ten minutes, and ends with status 1 and the seed when something does not hold. The seed repeats what is
drawn, not when threads run.
"""
