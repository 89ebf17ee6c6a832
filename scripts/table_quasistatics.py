"""Writes the tables of docs/quasistatics.md from benchmarks/results/quasistatic.json.

python scripts/table_quasistatics.py
"""

import json
import re
from pathlib import Path

PAGE, RESULT = Path("docs/quasistatics.md"), Path("benchmarks/results/quasistatic.json")


def unrolling(rows: list[dict]) -> list[str]:
    lines = [
        "| tolerance | cold: steps | unrolled | implicit | warm: steps | unrolled | implicit |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            f"{row[start][key]:.1e}" if key != "steps" else str(row[start][key])
            for start in ("cold", "warm")
            for key in ("steps", "unrolled", "implicit")
        ]
        lines.append(f"| {row['tolerance']:.0e} | " + " | ".join(cells) + " |")
    return lines


def measured(result: dict) -> list[str]:
    shell, mean, slopes = result["shell"], result["times"]["mean"], result["slopes"]
    ratio = mean["backward_s"] / mean["forward_s"]
    thickness, residual = shell["thickness_mm"], max(row["residual"] for row in result["times"]["steps"])
    lines = [
        "| | |",
        "|---|---|",
        f"| tetrahedra; unknowns | {shell['tetrahedra']:,}; {shell['unknowns']:,} |",
        "| thickness: least, quartiles, most | "
        + ", ".join(f"{thickness[share]:.1f}" for share in ("0", "25", "50", "75", "100"))
        + " mm |",
        f"| steps of a fit (all expressions move by 0.03): solve | {mean['forward_s']:.2f} s, "
        f"{mean['iterations']:.0f} Newton steps |",
        f"| its backward | {mean['backward_s']:.2f} s ({100 * ratio:.0f} %) |",
        f"| residual of the balance of forces | ≤ {residual:.0e} |",
        f"| implicit gradient against central differences, solved to {slopes[0]['tolerance']:.0e} "
        f"| {slopes[0]['error']:.0e} |",
        f"| the same, solved to {slopes[1]['tolerance']:.0e} | {slopes[1]['error']:.0e} |",
        f"| volume of the flesh at jawOpen = 1 | {100 * result['volume']['change']:+.1f} %, "
        f"{result['volume']['inverted']} tetrahedra inverted |",
    ]
    if result.get("lips"):
        lines += [
            "",
            f"Of {result['lips'][0]['of']} vertices of the lips, how many are inside of flesh "
            "(by winding numbers of the whole skin), and how deep in the other lip:",
            "",
            "| jawOpen | mouthClose | blendshapes | equilibrium | solve |",
            "|---|---|---|---|---|",
        ]
        for r in result["lips"]:
            lines.append(
                f"| {r['jawOpen']:g} | {r['mouthClose']:g} | {r['before']}, {r['before_mm']:.1f} mm "
                f"| {r['after']}, {r['after_mm']:.1f} mm | {r['seconds']:.1f} s |"
            )
    return lines


def main() -> None:
    result, page = json.loads(RESULT.read_text()), PAGE.read_text()
    for name, lines in (("unrolling", unrolling(result["unrolling"])), ("measured", measured(result))):
        table = "\n".join([f"<!-- {name} -->", "", *lines, "", f"<!-- end of {name} -->"])
        page = re.sub(
            rf"<!-- {name} -->(.*?<!-- end of {name} -->)?", lambda _, t=table: t, page, count=1, flags=re.S
        )
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
