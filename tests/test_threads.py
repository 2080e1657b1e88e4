"""Commands yield the cores that their threads wait on, and only where the user has said nothing."""

import os
import subprocess
import sys

import pytest

SHOW = """
import os, sys
from compressvqa import cli
cli.app = lambda: print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT"))
cli.main()
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_the_setting_comes_before_torch_and_never_against_the_user(given: dict[str, str], expected: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", SHOW], env=kept | given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", expected]
