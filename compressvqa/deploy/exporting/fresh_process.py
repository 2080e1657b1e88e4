"""An exported file, read and run by a new process that knows nothing of this package."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from compressvqa.deploy.exporting.formats import Format
from compressvqa.deploy.exporting.pictures import Clips
from compressvqa.errors import RuntimeRefusedError

_RUN = """
given = numpy.load(given)
for number in range(count):
    outputs = run({name: given[f"{number}/{name}"] for name in names})
    numpy.savez(f"{found}/{number}.npz", *outputs)
with open(f"{found}/facts.json", "w") as file:
    file.write(facts)
assert not any(name.split(".")[0] == "compressvqa" for name in sys.modules)
"""


def run_alone(form: Format, path: Path, clips: list[Clips]) -> tuple[list[list[Tensor]], str]:
    """What a file gives for some clips, each output as (B,), and what it says of itself, as JSON.

    Raises:
        RuntimeRefusedError: it does not load or run.
    """
    with tempfile.TemporaryDirectory(prefix="compressvqa-") as place:
        given = Path(place) / "given.npz"
        arrays = {f"{number}/{name}": one.numpy() for number, pair in enumerate(clips) for name, one in pair.items()}
        np.savez(given, **arrays)  # type: ignore[arg-type]
        full = str(path.absolute())  # the process runs elsewhere
        values = {"path": full, "given": str(given), "found": place, "count": len(clips), "names": list(clips[0])}
        head = "import sys\nimport numpy\n" + "".join(f"{name} = {value!r}\n" for name, value in values.items())
        # No path of ours: what is found is what is installed.
        around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [sys.executable, "-c", head + form.reads + _RUN],
            capture_output=True, text=True, check=False, env=around, cwd=place,
        )  # fmt: skip
        if done.returncode != 0:
            line = next(reversed([one for one in done.stderr.splitlines() if one.strip()]), "no word")[:200]
            raise RuntimeRefusedError(f"the file does not run in a new process ({line})")
        outputs = []
        for number in range(len(clips)):
            with np.load(Path(place) / f"{number}.npz") as held:
                outputs.append([torch.from_numpy(held[name]).reshape(-1) for name in held.files])
        return outputs, (Path(place) / "facts.json").read_text(encoding="utf-8")
