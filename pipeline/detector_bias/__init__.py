"""Where a landmark detector errs on renders of a rig: its domain gap, measured (docs/detector_bias.md).

`scenes.py` says what is rendered, `looking.py` renders and detects, `statistics.py` makes means and spreads
of what was seen, `smoothness.py` asks for derivatives and `presence.py` how far a head may turn; `file.py`
is what a fit reads of it.
"""
