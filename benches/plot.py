#!/usr/bin/env python3
"""Draws the CPU time of a request, system beside system, from what benches/side-by-side wrote.

    benches/plot.py target/side-by-side.json benches/plots/small.svg
    benches/plot.py --depth 1 --log always FILE.json FILE.svg

Needs matplotlib: pip install matplotlib
"""

import argparse
import json
import statistics
from pathlib import Path

COLOURS = {
    "chatshard": "#1b6ca8", "canned": "#b8b8b8", "valkey": "#c0392b", "http": "#1b6ca8",
    "bare": "#b8b8b8",
}
FIELD = "server_cpu_us_per_request"


def medians(rows, log, depth):
    """For each work and system the median of the rounds."""
    rounds = {}
    for row in rows:
        if (row["log"], row["depth"]) == (log, depth):
            of_work = rounds.setdefault(row["work"], {})
            of_work.setdefault(row["system"], []).append(row[FIELD])
    return {
        work: {name: statistics.median(found) for name, found in systems.items()}
        for work, systems in rounds.items()
    }


def draw(rows, out, log="off", depth=16):
    """One panel for each work, each with a scale of its own."""
    import matplotlib

    # The same figures give the same bytes.
    matplotlib.rcParams.update(
        {"svg.hashsalt": "chatshard", "svg.fonttype": "none", "font.size": 9}
    )
    from matplotlib.figure import Figure

    works = medians(rows, log, depth)
    if not works:
        raise SystemExit(f"nothing was measured with log {log} at depth {depth}")
    columns = min(3, len(works))
    lines = -(-len(works) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.5 * lines), layout="constrained")
    for place, (work, systems) in enumerate(works.items()):
        panel = figure.add_subplot(lines, columns, place + 1)
        names = [name for name in COLOURS if name in systems][::-1]
        values = [systems[name] for name in names]
        bars = panel.barh(names, values, color=[COLOURS[name] for name in names])
        panel.bar_label(bars, fmt="%.1f", padding=2)
        panel.set_xlim(0, max(values) * 1.2)
        panel.set_xticks([])
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.tick_params(left=False)
        panel.set_title(work, loc="left", fontweight="bold")
    figure.suptitle(f"server CPU for a request, µs: depth {depth}, log {log}", fontsize=9)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="svg", metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", default="off")
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("measured", type=Path, help="what benches/side-by-side wrote")
    parser.add_argument("out", type=Path, help="an SVG")
    options = parser.parse_args()
    draw(json.loads(options.measured.read_text()), options.out, options.log, options.depth)


if __name__ == "__main__":
    main()
