"""Replaces the HTTP addresses of nodes in an answer of `_nodes`, in the pieces in which it comes.

All other bytes stay as they are, and how the answer is cut into pieces makes no difference. Little is kept
between two pieces: where the text stands, and a token that is not complete.
"""
