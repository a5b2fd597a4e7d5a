"""Warnings of the preflight about ordinary scans, which are mostly false alarms.

    .venv/bin/python benchmarks/preflight.py SCAN [SCAN ...]

Each SCAN is whatever `tomoseg predict` reads, or a folder with one folder a case that holds `ct.nii.gz`. What is
printed is what `predict` would warn of before it segments, and which parts of the body are seen how often.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from common import machine

from tomoseg.checks.scan import inspect_scan
from tomoseg.files.scan import read_scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="+", type=Path)
    scans = [scan for given in parser.parse_args().scans for scan in sorted(given.glob("*/ct.nii.gz")) or [given]]
    print(machine())
    warned, parts = 0, Counter[str]()
    for path in scans:
        volume = read_scan(path)
        seen = inspect_scan(volume, contrast=False)
        warnings = [notice for notice in (*volume.warnings, *seen.notices) if notice.level == "warning"]
        warned += bool(warnings)
        parts[", ".join(part.name for part in seen.parts) or "none told"] += 1
        for notice in warnings:
            print(f"{path}: {notice.kind}: {notice}")
    print(f"{warned} of {len(scans)} scans have a warning")
    for names, count in parts.most_common():
        print(f"{count:5}  {names}")


if __name__ == "__main__":
    main()
