"""`chainrig view`: a fit, a run or a rig in the browser."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.arguments import ConfigFile, Settings


def view(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FIT.JSON|RIG.NPZ",
            help="A fit, a folder with fits (of chainrig batch, say), or a rig.",
            show_default=False,
        ),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    config: ConfigFile = None,
    set_: Settings = None,
) -> None:
    """Look at fits in 3D, move their controls, solve again from there, and label by hand; Ctrl-C ends it.

    The page is for this machine's browser only. Settings are for solving again; by default a fit's own.
    """
    from pipeline.config import load_config
    from pipeline.view.viewed import find_items

    settings = load_config(config, set_)  # complains before a browser opens
    items = find_items(path)

    from pipeline.view.server import ViewServer
    from pipeline.view.session import Session

    session = Session(items, config, set_, settings.fit.threads)
    session.check()
    with ViewServer(session, port) as server:
        try:
            print(server.address, flush=True)
            if browser:
                threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            session.close()
