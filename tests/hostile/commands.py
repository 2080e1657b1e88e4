"""Whole commands that `interrupted.py` disturbs: run, data prepare, data proxy, prune, evaluate, score, report, export.

They take seconds each, so that the suite leaves them to benchmarks/hostile.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from hostile.interrupted import Work

RECIPE = """\
version: 1
name: small
seed: 1
model: {name: rankdvqa, options: {widths: [4, 4, 6, 6, 8, 8], merge_width: 8, mlp_width: 8}}
clip: {size: 96}
runtime: {precision: "32", threads: 1}
objective: {kind: rank-pairs}
data: {kind: rank-pairs, size: 96, patches_per_clip: 1, ladder: [{codec: x264, crf: [24, 36, 48]}]}
stages:
  - {kind: train, name: teacher, steps: 4, batch: 2, checkpoint_seconds: 0.001, optimizer: {lr: 1.0e-3}}
  - {kind: sparsify, name: sparse, steps: 4, batch: 2, checkpoint_seconds: 0.001, target_density: 0.4,
     options: {base: adamw}}
  - {kind: prune, name: pruned, target_params: 0.5}
  - {kind: distil, name: distilled, teacher: teacher, steps: 4, batch: 2, checkpoint_seconds: 0.001,
     losses: {instance: 1.0, batch: 1.0}}
"""


def say(*words: object) -> None:
    """Runs the command with these words."""
    from compressvqa.cli import main

    sys.argv = ["compressvqa", *map(str, words)]
    main()


def said(*words: object) -> None:
    """The same, for what is prepared: the command's end is no end of ours."""
    try:
        say(*words)
    except SystemExit as end:
        assert not end.code


def clip(path: Path, step: int = 30) -> None:
    """A little video of three frames of noise, `step` grey levels apart."""
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 128, 128 * 128 * 3 // 2).astype(np.uint8)
    frames = b"".join(b"FRAME\n" + (noise + step * n).tobytes() for n in range(3))
    path.write_bytes(b"YUV4MPEG2 W128 H128 F25:1 Ip A1:1 C420jpeg\n" + frames)


def run() -> Work:
    """A recipe of four stages, its data there."""

    def prepare(folder: Path) -> None:
        (folder / "recipe.yaml").write_text(RECIPE)
        said("data", "prepare", folder / "recipe.yaml", folder / "data")

    def check(folder: Path) -> str:
        from compressvqa.models import load

        for config in folder.glob("run/**/config.json"):
            load(config.parent)
        for kept in folder.glob("run/stages/*/stage.json"):
            assert json.loads(kept.read_text())["row"]["stage"] in kept.parent.name
            assert (kept.parent / "model" / "model.safetensors").exists()
        results = folder / "run" / "results.json"
        if not results.exists():
            return "old"
        assert len(json.loads(results.read_text())["table"]) == 4
        assert (folder / "run" / "model" / "config.json").exists()
        return "new"

    return Work(
        prepare,
        lambda folder: say("run", folder / "recipe.yaml", "--out", folder / "run", "--data-folder", folder / "data"),
        check,
        lambda path: path.suffix in (".safetensors", ".npy"),  # the rest has times in it
    )


def data_prepare() -> Work:
    """The data of a recipe."""

    def check(folder: Path) -> str:
        from compressvqa.data import PatchSet

        if not (folder / "data" / "validation" / "index.json").exists():
            return "old"
        parts = [PatchSet(folder / "data" / name) for name in ("train", "validation")]
        assert all(len(part) for part in parts)
        return "new"

    return Work(
        lambda folder: (folder / "recipe.yaml").write_text(RECIPE) and None,
        lambda folder: say("data", "prepare", folder / "recipe.yaml", folder / "data"),
        check,
    )


def data_proxy() -> Work:
    """A proxy set of two clips."""

    def prepare(folder: Path) -> None:
        (folder / "clips").mkdir()
        clip(folder / "clips" / "one.y4m")
        clip(folder / "clips" / "two.y4m", 20)

    def check(folder: Path) -> str:
        from compressvqa.opinions import read_manifest

        if not (folder / "out" / "manifest.csv").exists():
            return "old"
        found = read_manifest(folder / "out" / "manifest.csv")
        assert len({item.reference for item in found.items}) == 2
        return "new"

    words = ("--frames", "2", "--start", "0", "--workers", "1")
    return Work(
        prepare,
        lambda folder: say("data", "proxy", folder / "clips", "--out", folder / "out", *words),
        check,
        lambda path: path.suffix in (".csv", ".mp4", ".mkv", ".y4m"),
    )


def prune() -> Work:
    """A pruned network, and then another in its place."""

    def cut(folder: Path, ratio: float, call: Callable[..., None]) -> None:
        call("prune", folder / "net", "--ratio", ratio, "--out", folder / "small", "--overwrite")

    def prepare(folder: Path) -> None:
        import torch

        from compressvqa.models import create_model, save

        torch.manual_seed(0)
        widths = {"widths": [4, 4, 6, 6, 8, 8], "merge_width": 8, "mlp_width": 8}
        save(create_model("rankdvqa", **widths), folder / "net")
        cut(folder, 0.2, said)
        (folder / "count").write_text(str(size(folder)))

    def size(folder: Path) -> int:
        from compressvqa.models import load

        return sum(parameter.numel() for parameter in load(folder / "small").parameters())

    def check(folder: Path) -> str:
        before = int((folder / "count").read_text())
        now = size(folder)
        assert now <= before
        return "old" if now == before else "new"

    return Work(prepare, lambda folder: cut(folder, 0.5, say), check, lambda path: path.name != "README.md")


def evaluate() -> Work:
    """An evaluation of two metrics on a set of six files."""

    def prepare(folder: Path) -> None:
        import numpy as np

        clip(folder / "reference.y4m")
        whole = np.frombuffer((folder / "reference.y4m").read_bytes(), np.uint8)
        rows = ["reference,distorted,score"]
        for number in range(6):
            noise = np.random.default_rng(number).integers(0, 1 + 4 * number, len(whole) - 200)
            bytes_ = whole.copy()
            bytes_[200:] = np.clip(bytes_[200:].astype(int) + noise, 71, 255)  # no letter of "FRAME" is made
            (folder / f"{number}.y4m").write_bytes(repaired(bytes_.tobytes(), whole.tobytes()))
            rows.append(f"reference.y4m,{number}.y4m,{90 - 10 * number}")
        (folder / "set.csv").write_text("\n".join(rows) + "\n")

    def repaired(damaged: bytes, whole: bytes) -> bytes:
        """The frames' headers put back."""
        out = bytearray(damaged)
        at = whole.find(b"FRAME\n")
        while at >= 0:
            out[at : at + 6] = b"FRAME\n"
            at = whole.find(b"FRAME\n", at + 6)
        return bytes(out)

    def check(folder: Path) -> str:
        from compressvqa.results import Evaluation

        if not (folder / "out" / "evaluation.json").exists():
            return "old"
        assert {one.name for one in Evaluation.read(folder / "out" / "evaluation.json").models} == {"psnr", "ssim"}
        return "new"

    return Work(
        prepare,
        lambda folder: say("evaluate", "psnr", "ssim", folder / "set.csv", "--out", folder / "out"),
        check,
        lambda path: path.name == "scores.csv" or path.suffix == ".y4m",
    )


def score() -> Work:
    """Logs of scores in three formats, over those of another metric."""

    def words(folder: Path, metric: str) -> list[object]:
        out = [f"--out={folder}/log.{kind}" for kind in ("json", "csv", "xml")]
        return ["score", folder / "a.y4m", folder / "a.y4m", "--metric", metric, *out]

    def prepare(folder: Path) -> None:
        clip(folder / "a.y4m")
        said(*words(folder, "ssim"))

    def check(folder: Path) -> str:
        log = json.loads((folder / "log.json").read_text())
        assert len(log["frames"]) == 3
        assert (folder / "log.csv").read_text().count("\n") == 4
        assert (folder / "log.xml").read_text().rstrip().endswith("</VMAF>")
        return "new" if "psnr" in json.dumps(log) else "old"

    return Work(prepare, lambda folder: say(*words(folder, "psnr")), check)


def report() -> Work:
    """The figures and the page of an evaluation."""
    source = Path(__file__).parent.parent / "results" / "older.json"

    def check(folder: Path) -> str:
        for page in folder.glob("out/*.html"):
            assert page.read_text().rstrip().endswith("</html>")
        return "new" if (folder / "out" / "report.html").exists() else "old"

    return Work(
        lambda folder: (folder / "evaluation.json").write_bytes(source.read_bytes()) and None,
        lambda folder: say("report", folder / "evaluation.json", "--out", folder / "out"),
        check,
        lambda path: path.suffix in (".csv", ".md", ".tex"),
    )


def export() -> Work:
    """An exported network, and another in its place."""

    def put(folder: Path, frames: int, call: Callable[..., None]) -> None:
        where = ("--format", "torch-export", "--size", "96", "--frames", frames, "--out", folder / "out", "--overwrite")
        call("export", folder / "net", "--allow-random-weights", *where)

    def prepare(folder: Path) -> None:
        import torch

        from compressvqa.models import create_model, save

        torch.manual_seed(0)
        widths = {"widths": [4, 4, 6, 6, 8, 8], "merge_width": 8, "mlp_width": 8}
        save(create_model("rankdvqa", **widths), folder / "net")
        put(folder, 2, said)

    def check(folder: Path) -> str:
        block = json.loads((folder / "out" / "facts.json").read_text())["block"]
        assert (folder / "out" / "example.py").exists()
        return {"2": "old", "3": "new"}[block.split()[0]]

    return Work(prepare, lambda folder: put(folder, 3, say), check, lambda path: path.suffix in (".json", ".py"))


COMMANDS: dict[str, Callable[[], Work]] = {
    "run": run,
    "data_prepare": data_prepare,
    "data_proxy": data_proxy,
    "prune": prune,
    "evaluate": evaluate,
    "score": score,
    "report": report,
    "export": export,
}
