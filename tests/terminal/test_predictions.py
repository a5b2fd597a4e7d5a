import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["tomoseg.terminal.predictions", "tomoseg.evaluation.measure"])
def test_what_predict_shows_and_measures_starts_without_what_it_does_not_use(module):
    code = f"import sys, {module}; print([name for name in ('matplotlib', 'scipy.stats') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
