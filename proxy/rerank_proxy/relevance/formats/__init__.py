"""Files of queries, judgments and clicks, as this project and other programs write them.

`reading.py` and `writing.py` are what others call. Between a file and what it says lie `packing.py` (bytes),
`lines.py` (lines and what a value in one must be), and the forms: `topics.py`, `columns.py`, `tables.py` and
`objects.py`. Each form gives a `Row` (`rows.py`) for a line with a query or a judgment; `click_rows.py` does
the same for clicks.
"""
