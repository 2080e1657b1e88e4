"""Thousands of damaged inputs, each read or refused in one line: no crash, no hang, no growth, no deed outside.

Each is made again by its subject, seed and number:
``PYTHONPATH=.:tests python -m hostile.hammer media --first 17 --cases 18 --folder F``.
benchmarks/hostile.py is the long form.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostile.hammer import results

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and sizes of a process are Linux's")

CASES = {"media": 2000, "recipes": 1000, "manifests": 1000, "logs": 1000, "results": 1000, "model_folders": 1000}
MOST_MB = 300  # that may stay after thousands of cases, all caches of libraries included


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hammer")
    root = Path(__file__).parent.parent.parent
    subjects = [f"{name}={count}" for name, count in CASES.items()]
    command = [sys.executable, "-m", "hostile.hammer", *subjects, "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=False)
    case = (folder / "case").read_text() if (folder / "case").exists() else "none"
    assert done.returncode == 0, f"ended at case {case}: {done.stderr[-3000:]}"
    return {one["subject"]: one for one in results(done.stdout)}


@pytest.mark.parametrize("subject", CASES)
def test_every_damaged_input_is_read_or_refused_in_a_line(subject, ended):
    found = ended[subject]
    assert found["faults"] == []
    assert found["cases"] == CASES[subject]
    assert found["grown_mb"] < MOST_MB
    # The mutations are neither harmless nor all fatal.
    assert found["refused"] > 0.1 * found["cases"]
    assert found["read"] > 0.02 * found["cases"]
