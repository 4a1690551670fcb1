"""An evaluation: systems are asked queries whose right answers are known, and compared.

`material.py` reads the queries and judgments, `running.py` goes through the stages, `asking.py` sends the
searches, `answers.py` keeps what came, `results.py` computes figures of it, and `curves.py` looks at the
windows.
"""
