"""Rigs from other tools: importers and exporters, one format a file, and what makes an imported rig fit
photos."""
