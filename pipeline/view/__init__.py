"""`chainrig view`: a fit, a run or a rig in the browser, to look at, to move, to solve again and to label."""
