"""What is damaged, and the reader that gets it: videos, pictures, recipes, manifests, tables, logs, model folders."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clips import ffmpeg

from hostile.mutations import mutated_bytes, mutated_data, mutated_text

Case = Callable[[random.Random], Callable[[], Any]]


def media(folder: Path) -> Case:
    """A damaged video or picture, looked at, counted, and read to its end."""
    from compressvqa.video.read import probe, read_frames

    seeds = videos(folder) | _pictures()
    others = list(seeds.values())

    def case(dice: random.Random) -> Callable[[], Any]:
        name = dice.choice(list(seeds))
        suffix = "." + name.split(".")[-1] if dice.random() < 0.9 else dice.choice((".mp4", ".png", ".mkv", ".y4m", ""))
        path = folder / f"damaged{suffix}"
        path.write_bytes(mutated_bytes(seeds[name], dice, others))

        def work() -> None:
            probe(path, count=True)
            for planes in read_frames(path):
                assert planes.y.size

        return work

    return case


KINDS = (
    ("a.mp4", "libx264", "-pix_fmt yuv420p -preset ultrafast -g 3"),
    ("b.mkv", "libx264", "-pix_fmt yuv420p10le -preset ultrafast"),
    ("c.webm", "libvpx-vp9", "-pix_fmt yuv420p -deadline realtime -cpu-used 8"),
    ("d.avi", "mjpeg", "-pix_fmt yuvj420p"),
    ("e.ts", "mpeg2video", "-pix_fmt yuv420p"),
    ("f.mov", "prores_ks", "-pix_fmt yuv422p10le"),
    ("g.gif", "gif", ""),
    ("h.mkv", "ffv1", "-pix_fmt yuv444p"),
    ("i.mp4", "libx265", "-pix_fmt yuv420p -preset ultrafast -x265-params log-level=none"),
    ("j.mpg", "mpeg1video", "-pix_fmt yuv420p"),
    ("k.apng", "apng", "-f apng"),
    ("l.flv", "flv", "-pix_fmt yuv420p"),
    ("m.nut", "rawvideo", "-pix_fmt yuv420p"),
    ("n.mp4", "libsvtav1", "-pix_fmt yuv420p -preset 12"),
)


def videos(folder: Path) -> dict[str, bytes]:
    """Short videos of many formats, 64x48 pixels, made in one call of ffmpeg."""
    outputs = [
        word for name, codec, more in KINDS for word in ("-c:v", codec, *more.split(), str(folder / f"seed-{name}"))
    ]
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.16", *outputs)
    made = {name: (folder / f"seed-{name}").read_bytes() for name, _, _ in KINDS}
    head = b"YUV4MPEG2 W48 H40 F25:1 Ip A1:1 C420jpeg XCOLORRANGE=FULL\n"
    made["o.y4m"] = head + b"".join(b"FRAME\n" + bytes(48 * 40 * 3 // 2) for _ in range(3))
    made["p.y4m"] = b"YUV4MPEG2 W6 H4 F30000:1001 It C444p10\n" + b"".join(b"FRAME\n" + bytes(144) for _ in range(3))
    return made


def _pictures() -> dict[str, bytes]:
    import numpy as np
    from PIL import Image, PngImagePlugin

    picture = np.add.outer(np.arange(40) * 5, np.arange(48) * 3).astype(np.uint8)
    colour = Image.fromarray(np.stack([picture, picture.T.reshape(40, 48), picture], -1))
    deep = Image.fromarray(picture.astype(np.uint16) * 257)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 200, zip=True)
    exif = Image.Exif()
    exif[274] = 6
    made = {}
    for name, image, settings in (
        ("a.png", colour, {"pnginfo": text}),
        ("b.png", deep, {}),
        ("c.png", colour.convert("P"), {}),
        ("d.png", colour.convert("RGBA"), {}),
        ("e.jpg", colour, {"exif": exif}),
        ("f.jpg", colour.convert("L"), {"progressive": True}),
        ("g.webp", colour, {}),
        ("h.webp", colour, {"save_all": True, "append_images": [colour.rotate(90)], "duration": 40}),
        ("i.bmp", colour, {}),
        ("j.tif", colour, {"compression": "tiff_lzw"}),
        ("k.tif", deep, {}),
        ("l.tiff", colour, {"compression": "jpeg"}),
        ("m.ppm", colour, {}),
        ("n.pgm", colour.convert("L"), {}),
        ("o.png", colour.convert("1"), {}),
        ("q.jpg", colour.convert("CMYK"), {}),
    ):
        out = io.BytesIO()
        kind = {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM"}.get(name.split(".")[1], name.split(".")[1].upper())
        image.save(out, kind, **settings)
        made[name] = out.getvalue()
    return made


RECIPE = """\
version: 1
name: small
description: Two stages
seed: 7
model: {name: rankdvqa, options: {widths: [4, 5, 6, 7, 8, 9], merge_width: 8, mlp_width: 6}}
clip: {size: 64, frames: 12}
runtime: {device: cpu, precision: 32, threads: 1}
objective: {kind: rank-pairs}
data: &data
  kind: rank-pairs
  sources: builtin
  validation: builtin
stages:
  - {name: teacher, kind: train, steps: 3, batch: 2, optimizer: {name: adamw, lr: 5.0e-4, betas: [0.5, 0.999]}}
  - kind: prune
    name: pruned
    rule: in
when:
  "model.name=stanet": ["seed=3", "stages.teacher.steps=9"]
"""


def recipes(folder: Path) -> Case:
    """A damaged recipe, as text or as data, and damaged `--set`."""
    import yaml

    from compressvqa.running.recipe import Recipe

    data = yaml.safe_load(RECIPE)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C it takes a tenth of the time

    def case(dice: random.Random) -> Callable[[], Any]:
        path, overrides = folder / "recipe.yaml", []
        if dice.random() < 0.5:
            path.write_bytes(mutated_text(RECIPE.encode(), dice, [RECIPE.encode()]))
        else:
            try:
                path.write_text(
                    yaml.dump(mutated_data(data, dice), Dumper=dumper, sort_keys=False),
                    encoding="utf-8",
                    errors="surrogateescape",
                )
            except (yaml.YAMLError, UnicodeError):
                path.write_text(RECIPE)
        if dice.random() < 0.2:
            overrides = [mutated_text(b"stages.teacher.steps=500", dice, [RECIPE.encode()]).decode("utf-8", "replace")]

        def work() -> None:
            Recipe.load(path, overrides).to_yaml()

        return work

    return case


MANIFEST = {
    "schema": 1,
    "name": "mine",
    "kind": "human",
    "label": "MOS",
    "higher_is_better": True,
    "scale": [1, 5],
    "notes": ["24 viewers"],
    "items": [
        {
            "ref": "src/a.yuv",
            "dist": f"enc/a_{n}.yuv",
            "mos": n + 0.5,
            "std": 0.8,
            "ci": 0.1,
            "n": 24,
            "split": "train",
            "fps": 25,
            "width": 64,
            "height": 48,
        }
        for n in range(4)
    ],
}
TABLES = (
    b"ref,dist,mos,std,fps,width,height\nsrc/a.yuv,enc/a_1.yuv,3.2,.8,25,1920,1080\nsrc/a.yuv,enc/a_2.yuv,4.1,.7,30000/1001,1920,1080\n",
    b"reference;distorted;DMOS\na.mp4;b.mp4;41,5\na.mp4;c.mp4;52,25\n",
    '\ufeffdist\tmos\n"b 1.mp4"\t3\nc.mp4\t4\n'.encode(),
)


def manifests(folder: Path) -> Case:
    """A damaged manifest: JSON, or a table with or without its sidecar; read, and written again."""
    from compressvqa.opinions import read_manifest
    from compressvqa.opinions.manifest_file import write_manifest

    text = json.dumps(MANIFEST, indent=1).encode()
    facts = {key: value for key, value in MANIFEST.items() if key != "items"}

    def case(dice: random.Random) -> Callable[[], Any]:
        for old in folder.glob("scores.*"):
            old.unlink()
        if dice.random() < 0.5:
            path = folder / "scores.json"
            path.write_bytes(
                mutated_text(text, dice, [text]) if dice.random() < 0.4 else _json(mutated_data(MANIFEST, dice))
            )
        else:
            path = folder / dice.choice(("scores.csv", "scores.tsv"))
            path.write_bytes(mutated_text(dice.choice(TABLES), dice, list(TABLES)))
            if dice.random() < 0.4:
                (folder / "scores.json").write_bytes(_json(mutated_data(facts, dice)))

        def work() -> None:
            write_manifest(read_manifest(path), folder / "again.csv")

        return work

    return case


def _json(data: Any) -> bytes:
    return json.dumps(data).encode("utf-8", "surrogatepass")


LOG = {
    "version": "3.0",
    "fps": 20.0,
    "frames": [{"frameNum": n, "metrics": {"vmaf": 90.0 + n, "psnr_y": 40.0, "integer_motion": 0.0}} for n in range(4)],
    "pooled_metrics": {"vmaf": {"min": 90, "max": 93, "mean": 91.5, "harmonic_mean": 91.4}},
    "aggregate_metrics": {},
}
LOGS = (
    json.dumps(LOG).encode(),
    b"Frame,vmaf,psnr_y\n0,90.0,40\n1,91.0,41\n",
    b'<VMAF version="3.0"><frames><frame frameNum="0" vmaf="90"/><frame frameNum="1" vmaf="91"/></frames>'
    b'<pooled_metrics><metric name="vmaf" min="90" mean="90.5"/></pooled_metrics></VMAF>',
    b"frames: 60\nVMAF score = 71.5\n",
    b"{'frames': [{'frameNum': 0, 'VMAF_score': 90.0}], 'aggregate': {'VMAF_score': 90.0}}",
)


def logs(folder: Path) -> Case:
    """A damaged log of libvmaf or another program, and a damaged table of scores."""
    from compressvqa.scoring.foreign_logs import read_log, read_scores
    from compressvqa.scoring.foreign_table import read_score_table
    from compressvqa.video.vmaf import read_log as read_own

    tables = (
        b"dist,vmaf\na.mp4,90\nb.mp4,80\n",
        b'{"a.mp4": 90.0, "b.mp4": 80}',
        b'[{"dist": "a.mp4", "ref": "r.mp4", "vmaf": 9.5}]',
    )

    def case(dice: random.Random) -> Callable[[], Any]:
        kind = dice.randrange(4)
        if kind == 0:
            (folder / "table").write_bytes(mutated_text(dice.choice(tables), dice, list(tables)))
            return lambda: read_score_table(folder / "table", "vmaf")
        data = (
            _json(mutated_data(LOG, dice)) if dice.random() < 0.3 else mutated_text(dice.choice(LOGS), dice, list(LOGS))
        )
        if kind == 1:
            (folder / "log.json").write_bytes(data)
            return lambda: read_own(folder / "log.json", 4)
        text = data.decode("utf-8", "replace")
        reader = read_log if kind == 2 else read_scores
        return lambda: reader(text, dice.choice(("vmaf", "psnr_y", "mine")), where="log")

    return case


RESULTS = {
    "recipe": {"name": "small", "seed": 0},
    "table": [
        {
            "stage": "teacher",
            "params": 4594938,
            "macs": 10751000000,
            "srocc": 0.9,
            "plcc": 0.91,
            "pair_accuracy": 0.9,
            "n": 40,
        },
        {"stage": "pruned", "params": 453000, "macs": 1.0e9, "srocc": 0.8, "plcc": 0.8},
    ],
    "stages": {"pruned": {"density": {"a.b": 0.5}, "removed": {"a.b": [1, 2]}}},
    "curves": {"teacher": [[0, {"loss": 1.0}], [1, {"loss": 0.5}]]},
    "environment": {"cores": 2},
}


def results(folder: Path) -> Case:
    """A damaged results.json or evaluation.json, read and checked."""
    from compressvqa.report.results import load
    from compressvqa.results.evaluation import Evaluation

    def case(dice: random.Random) -> Callable[[], Any]:
        path = folder / "results.json"
        data = mutated_data(RESULTS, dice)
        path.write_bytes(mutated_text(_json(data), dice, [_json(RESULTS)]) if dice.random() < 0.3 else _json(data))
        return (lambda: load(path)) if dice.random() < 0.5 else (lambda: Evaluation.read(path))

    return case


def model_folders(folder: Path) -> Case:
    """A damaged model folder whose SHA-256 was made anew: its config, its tensors, or its bytes."""
    import safetensors.torch
    import torch

    from compressvqa.models import create_model, load, save

    torch.manual_seed(0)
    sound = save(create_model("stanet", channels=4, hidden=3), folder / "sound", facts={"srocc": 0.9})
    config = json.loads((sound / "config.json").read_text())
    config["changes"]["attributes"] = {"weigh.2": {"stride": [1, 1, 1]}}
    tensors = safetensors.torch.load_file(sound / "model.safetensors")
    payload = (sound / "model.safetensors").read_bytes()
    net = folder / "net"
    net.mkdir(exist_ok=True)
    (net / "README.md").write_text("")

    def case(dice: random.Random) -> Callable[[], Any]:
        held = dict(config)
        weights = payload
        kind = dice.randrange(4)
        if kind == 0:
            weights = mutated_bytes(payload, dice, [payload])
        elif kind == 1:
            state = dict(tensors)
            name = dice.choice(list(state))
            state[name] = _tensor(state[name], dice)
            weights = safetensors.torch.save(state)
        else:
            held = mutated_data(config, dice)
        if isinstance(held, dict) and dice.random() < 0.95:
            held["sha256"] = hashlib.sha256(weights).hexdigest()
        (net / "model.safetensors").write_bytes(weights)
        text = json.dumps(held).encode("utf-8", "surrogatepass")
        (net / "config.json").write_bytes(mutated_text(text, dice, [text]) if dice.random() < 0.1 else text)
        return lambda: load(net)

    return case


def _tensor(tensor: Any, dice: random.Random) -> Any:
    import torch

    kinds: tuple[Callable[[], Any], ...] = (
        lambda: torch.full_like(tensor, dice.choice((float("nan"), float("inf"), 1e38, -1e30, 1e-40, 0.0))),
        lambda: tensor.to(
            dice.choice((torch.int64, torch.int8, torch.bool, torch.float16, torch.float64, torch.float8_e5m2))
        ),
        tensor.flatten,
        tensor[:0].clone,
        lambda: torch.zeros(()),
        lambda: torch.zeros(1, *tensor.shape),
        lambda: torch.cat([tensor, tensor]),
        lambda: torch.zeros(tensor.shape, dtype=torch.bfloat16),
    )
    return dice.choice(kinds)().contiguous()


SUBJECTS: dict[str, Callable[[Path], Case]] = {
    "media": media,
    "recipes": recipes,
    "manifests": manifests,
    "logs": logs,
    "results": results,
    "model_folders": model_folders,
}
