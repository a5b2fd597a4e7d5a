"""Disk space of an installation, for prediction alone and with training.

    .venv/bin/python benchmarks/installed_size.py [--extras "" train] [--folder build/installed]

Each is installed with pip into a fresh environment, with the versions of `constraints.txt`, and removed again. Printed
are megabytes and files, without pip itself, and the largest packages.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
LARGEST = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", nargs="+", default=["", "train"], help='"" is the base')
    parser.add_argument("--folder", type=Path, default=Path("build/installed"))
    given = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {sys.platform}, {HERE / 'constraints.txt'}")
    for extra in given.extras:
        print(f"  {described(install(given.folder, extra), f'tomoseg[{extra}]' if extra else 'tomoseg')}")
    shutil.rmtree(given.folder)


def install(folder: Path, extra: str) -> dict[str, tuple[int, int]]:
    """Install into a fresh environment; return bytes and files of each top-level entry added."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    before = sizes(folder)
    wanted = f"{HERE}[{extra}]" if extra else str(HERE)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--constraint", HERE / "constraints.txt", wanted], check=True)
    return {name: size for name, size in sizes(folder).items() if name not in before}


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Return bytes and files by top-level name; links are not followed."""
    (packages,) = folder.rglob("site-packages")
    found = {}
    for path in packages.iterdir():
        files = [file for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
        found[path.name] = (sum(file.stat().st_size for file in files), len(files))
    return found


def described(added: dict[str, tuple[int, int]], name: str) -> str:
    """Return one line for a package."""
    total, files = (sum(size[n] for size in added.values()) for n in (0, 1))
    by_size = Counter({package: size[0] for package, size in added.items()}).most_common(LARGEST)
    largest = ", ".join(f"{package} {size / 1e6:.0f}" for package, size in by_size)
    return f"{name}: {total / 1e6:.0f} MB, {files} files; {largest}"


if __name__ == "__main__":
    sys.exit(main())
