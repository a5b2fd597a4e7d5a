"""The tests nearest to a change, in parallel, for less than a minute: `make quick`.

What has changed is what git says: since the branch left `main`, or since the last commit, with new files. A test file
is near where few imports lie between it and a changed module; the nearest are run first. What there is no time for is
skipped, and said: `make test` runs everything.
"""

import argparse
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.imports import imported, modules_in

PROJECT = Path(__file__).resolve().parent.parent
SECONDS = 40
MOST_FILES = 40
"""More would take the time for reading them."""
OF_PAGES = ("tests/test_documented.py", "tests/test_site.py", "tests/test_examples.py")
ALWAYS = ("tests/test_architecture.py", "tests/test_face.py")


def changed_files(project: Path) -> list[str]:
    """Paths that git finds changed since the branch left `main`, or since the last commit, and new ones."""

    def git(*words: str) -> list[str]:
        done = subprocess.run(["git", *words], cwd=project, capture_output=True, text=True, check=False)
        return done.stdout.split("\n")[:-1] if done.returncode == 0 else []

    since = (git("merge-base", "HEAD", "main") or ["HEAD"])[0]
    tracked = git("diff", "--name-only", "--no-renames", since)
    return sorted({*tracked, *git("ls-files", "--others", "--exclude-standard")})


def files_near(project: Path, changed: Iterable[str]) -> list[str]:
    """Test files that a change of these files touches, the nearest first, and sources whose examples it touches."""
    modules = modules_in(project / "src", "tomoseg") | modules_in(project, "tests")
    by_path = {str(path.relative_to(project)): name for name, path in modules.items()}
    users = _users(modules)
    distance = {by_path[path]: 0 for path in changed if path in by_path}
    distance |= {_package_of(path): 0 for path in changed if path.startswith("src/") and not path.endswith(".py")}
    waiting = deque(distance)
    while waiting:
        name = waiting.popleft()
        for user in sorted(users.get(name, ())):
            if user not in distance:
                distance[user] = distance[name] + 1
                waiting.append(user)
    ranked = sorted(distance, key=lambda name: (distance[name], name))
    near = [modules[name] for name in ranked if name in modules and _has_tests(name, distance[name])]
    pages = OF_PAGES if any(path.endswith(".md") or path.startswith("docs/") for path in changed) else ()
    found = [*(str(path.relative_to(project)) for path in near), *pages, *ALWAYS]
    return [path for path in dict.fromkeys(found) if (project / path).is_file()]


def _users(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """For each module those that import it; tests use the `conftest` of their folder and those above."""
    users: dict[str, set[str]] = {}
    for name, path in modules.items():
        used = set(imported(name, path, set(modules)))
        parts = name.split(".")
        if parts[0] == "tests" and parts[-1].startswith("test_"):
            used |= {".".join([*parts[:end], "conftest"]) for end in range(1, len(parts))}
        for target in used & set(modules):
            users.setdefault(target, set()).add(name)
    return users


def _package_of(path: str) -> str:
    """`src/tomoseg/data/others.csv` belongs to `tomoseg.data`."""
    return ".".join(Path(path).parent.parts[1:])


def _has_tests(name: str, distance: int) -> bool:
    """Test files, and the changed modules themselves for the examples in their docstrings."""
    return name.rpartition(".")[2].startswith("test_") or (name.startswith("tomoseg") and distance == 0)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The moment after which no test begins; also used by the processes that run them."""
    parser.addoption("--until", type=float, default=float("inf"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what there is no time for."""
    if time.time() > item.config.getoption("until"):
        pytest.skip("no time left")


def main() -> int:
    """Run them; returns pytest's exit status."""
    parser = argparse.ArgumentParser(prog="make quick", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--list", action="store_true", help="only name the files")
    asked = parser.parse_args()
    until = time.time() + asked.seconds
    changed = changed_files(PROJECT)
    files = files_near(PROJECT, changed)
    left_out = max(0, len(files) - MOST_FILES)
    sys.stdout.write(f"{len(changed)} files changed; {len(files)} files of tests are near\n")
    if left_out:
        sys.stdout.write(f"The {MOST_FILES} nearest are run; make test runs the other {left_out} as well\n")
    if asked.list:
        sys.stdout.write("\n".join(files) + "\n")
        return 0
    sys.stdout.flush()
    options = ["-p", "tests.quick", "-n", "auto", "--until", str(until), "-x", "-rf"]
    return int(subprocess.run([sys.executable, "-m", "pytest", *options, *files[:MOST_FILES]], cwd=PROJECT).returncode)


if __name__ == "__main__":
    sys.exit(main())
