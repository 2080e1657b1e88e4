"""Commands yield the cores that their threads wait on, and only where the user has said nothing."""

import os
import subprocess
import sys

import pytest

SHOW = """
import os, sys
from compressvqa import cli
cli.app = lambda *_, **__: print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT"))
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


def test_openmp_hears_of_it() -> None:
    """GNU's OpenMP, which PyTorch brings along, prints what it was told when it is loaded."""
    code = "from compressvqa import cli; cli.app = lambda *_, **__: print(__import__('torch')); cli.main()"
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    for given, expected in (({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7")):
        settings = kept | given | {"OMP_DISPLAY_ENV": "VERBOSE"}
        done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True)
        if "GOMP_SPINCOUNT" not in done.stderr:
            pytest.skip("PyTorch runs on another OpenMP here")
        assert f"GOMP_SPINCOUNT = '{expected}'" in done.stderr
