"""python -m benchmarks [--rounds 5] [--no-large] [--write]: measures, prints the table, and keeps it under benchmarks/results/."""

import argparse
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Row

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured; medians are reported")
    large = "without models of SD 1.5 size (they need 10 GB of memory, 20 GB of the disk, and minutes on a CPU)"
    parser.add_argument("--no-large", action="store_true", help=large)
    parser.add_argument("--no-start", action="store_true", help="without starting the program")
    parser.add_argument("--write", action="store_true", help="keep the table, dated, in benchmarks/results/")
    told = parser.parse_args()
    found: list[Row] = []
    if not told.no_start:
        from benchmarks import start

        found += start.rows(max(1, told.rounds // 2))
    from benchmarks import loop

    found += loop.rows(told.rounds, not told.no_large)
    if not told.no_large:
        from benchmarks import swap

        found += swap.rows(max(1, told.rounds // 2))
    from benchmarks import foresight

    found += foresight.rows(max(1, told.rounds // 2))
    from benchmarks import scan

    found += scan.rows(max(1, told.rounds // 2))
    text = f"{heading(loop.device(), told.rounds)}\n\n{table(found)}\n"
    print(text)
    if told.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{platform.machine()}.md").write_text(text, encoding="utf-8")
    return 0


def heading(device: str, rounds: int) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "transformers", "gradio"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {device}, Python {platform.python_version()}, {versions}; medians of {rounds} rounds."
    )


def table(rows: list[Row]) -> str:
    lines = ["| what | ours | compared with | ratio |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {row.what} | {row.ours} | {row.theirs or '-'} | {row.ratio or '-'} |" for row in rows])


if __name__ == "__main__":
    sys.exit(main())
