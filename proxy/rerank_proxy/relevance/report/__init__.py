"""The report of an evaluation: one file of HTML that needs nothing else, and the same as JSON and Markdown.

`document.py` is the whole report as plain values, `words.py` says what they mean, `tables.py` lays them out,
`plots.py` draws them, `page.py` and `markdown.py` put them together, and `files.py` writes them.
"""
