"""Where commands print: results on stdout, progress on stderr."""

from rich.console import Console

screen = Console()
progress_screen = Console(stderr=True)
