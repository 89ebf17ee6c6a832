"""Fits as users get them, on many photos: pure chain rule against hybrid, and the detector's smoothing.

    python benchmarks/chain_rule_photos.py FOLDER [--write]     # the example and every photo of a folder

A photo that a former run has done is not done again; after every photo the figures are written.
"""

import argparse
import json
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from accuracy import fit, record
from stations import write_between_markers

from pipeline import assets

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "chain_rule_photos.json"
PAGE = ROOT / "docs" / "chain-rule.md"
WAYS = {
    f"{way}, rectifiers {width:g}": [f"fit.derivatives={way}", f"fit.detector_smoothing={width}"]
    for way, width in (("chain", 0.1), ("chain", 0.3), ("hybrid", 0.1), ("hybrid", 0.3), ("chain", 0.03))
}


def table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Markdown: of the ways that have seen as many photos as the first."""
    lines = [
        "| way | photos | residual, mean | worst | evaluations | backward passes "
        "| neutral photos: mean expression "
        "| median of the largest | smile's rise, mean | least |",
        "|---" + "|--:" * 9 + "|",
    ]
    first = next(iter(found.values()))
    for way, rows in found.items():
        if rows.keys() < first.keys():
            continue
        neutral = {name: row for name, row in rows.items() if name.endswith("_neutral")}
        smiling = {name: rows.get(name.replace("neutral", "smiling")) for name in neutral}
        rises = [other["smile"] - neutral[name]["smile"] for name, other in smiling.items() if other]
        cells = [str(len(rows))]
        cells += [f"{choose(row['final'] for row in rows.values()):.3f}" for choose in (mean, max)]
        cells += [f"{mean(row[key] for row in rows.values()):.1f}" for key in ("evaluations", "gradients")]
        if rises:
            cells.append(f"{mean(row['mean_expression'] for row in neutral.values()):.3f}")
            cells.append(f"{median(row['largest_expression'] for row in neutral.values()):.2f}")
            cells += [f"{mean(rises):.2f}", f"{min(rises):.2f}"]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--json", type=Path, default=RESULTS, help="of the raw figures")
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    parser.add_argument("--write", action="store_true", help="the table into docs/chain-rule.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    if options.json.exists():
        found = json.loads(options.json.read_text())
    paths = [assets.path("example.png"), *sorted(options.folder.glob("*.jpg"))] if options.folder else []
    for way in options.ways if paths else ():
        rows = found.setdefault(way, {})
        for path in paths:
            if path.stem not in rows:
                row = rows[path.stem] = record(fit(path, WAYS[way]))
                print(f"{way:24} {path.stem:14} {row['final']:.3f} {row['evaluations']}", flush=True)
                options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    if options.write:
        write_between_markers(PAGE, "photos", table(found))


if __name__ == "__main__":
    main()
