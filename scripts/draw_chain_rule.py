"""Draws the charts of docs/chain-rule.md from the figures in benchmarks/results.

python scripts/draw_chain_rule.py
"""

import json
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline.derivatives.drawing import Curve, chart

RESULTS, PICTURES = Path("benchmarks/results"), Path("docs/pictures/chain_rule")
FITS = {
    "stand-in alone (`embedding`)": "stand-in alone",
    "`chain`, rectifiers 0": "chain, as it is",
    "`chain`, rectifiers 0.1": "chain, rectifiers 0.1",
    "`chain`, rectifiers 0.3": "chain, rectifiers 0.3",
    "rectifiers 0.3, twice as long": "0.3, twice as long",
    "own Jacobian first, then secants": "own Jacobian, secants",
}


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for control, of in _read("profile")["lines"].items():
        (PICTURES / f"{control}.svg").write_text(profile(control, of), encoding="utf-8")
    (PICTURES / "convergence.svg").write_text(convergence(_read("fits")["faces"]), encoding="utf-8")


def profile(control: str, of: dict[str, Any]) -> str:
    """The chain along a control, and the tangents that derivatives give it."""
    along, reach = of["along"], (min(of["along"]), max(of["along"]))
    curves = [Curve("the chain", along, of["chain"])]
    curves += [Curve(name, reach, [slope * t for t in reach]) for name, slope in of["slopes"].items()]
    title = f"Along {control}, from the warm start of the example"
    return chart(curves, title, f"change of {control}", "landmarks, % IOD", False, False, marks=False)


def convergence(faces: dict[str, dict[str, Any]]) -> str:
    """Mean residuals by evaluation; a fit that has stopped stays where it is."""
    curves = []
    for plan, name in FITS.items():
        lines = [face[plan]["curve"] for face in faces.values() if plan in face]
        count = max(map(len, lines))
        full = [line + [line[-1]] * (count - len(line)) for line in lines]
        curves.append(Curve(name, range(1, count + 1), [mean(at) for at in zip(*full, strict=True)]))
    title = f"Residual after so many evaluations, mean of {len(faces)} faces"
    return chart(curves, title, "evaluations of the chain", "residual, % IOD", False, False, marks=False)


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"chain_rule_{name}.json").read_text("utf-8"))


if __name__ == "__main__":
    main()
