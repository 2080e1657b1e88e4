"""Work that is killed, or fails, at every moment leaves a whole state, and comes to the same bytes when done again.

Every deed of saving a network, a manifest, kept scores and an evaluation is killed at, made to fail once, and made the
first on a full disk; then the work is disturbed again while it is done again. benchmarks/hostile.py does a command too.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostile.hammer import results

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies of a process are Linux's")

WORKS = ("model", "manifest", "kept", "evaluation")


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-m", "hostile.interrupted", *WORKS, "--moments", "20"]
    command += ["--folder", str(tmp_path_factory.mktemp("interrupted"))]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {one["work"]: one for one in results(done.stdout)}


@pytest.mark.parametrize("work", WORKS)
def test_nothing_is_left_half_written(work, disturbed):
    assert disturbed[work]["faults"] == []
    assert disturbed[work]["deeds"] >= 2
    assert disturbed[work]["attempts"] >= 6 * min(20, disturbed[work]["deeds"])
