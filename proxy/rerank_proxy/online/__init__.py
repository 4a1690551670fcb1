"""Reranking and its users: which searches take part in a comparison, and what their clicks tell.

`draws` says by chance what part a search takes, `team_draft` makes one list of two orders, `memory` keeps
which documents an answer has shown, and `clicks` reads what an application tells of its users. Nothing here
does input or output, and nothing keeps a query, a caller or the id of a document.
"""
