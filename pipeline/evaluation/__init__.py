"""`chainrig evaluate`: how well fits of a folder of images do, against all that is known of them.

`folder.py` finds images with their labels and truth, `run.py` fits them, `row.py` says what one fit is worth
(`label_error.py`, `control_error.py`), `statistics.py` what all of them come to; `table.py`, `sentences.py`,
`histogram.py` and `files.py` show it.
"""
