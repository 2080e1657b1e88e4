"""Whether a data set is complete, and fits what is published of it: `compressvqa data check`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from compressvqa.errors import CompressVQAError, DataError
from compressvqa.opinions.differences import against_manifest, against_reference
from compressvqa.opinions.direction import agreement, to_compare
from compressvqa.opinions.findings import NAMED, Finding, Report, about
from compressvqa.opinions.look import MEDIA_SUFFIXES, Seen, look_at, luma, psnr
from compressvqa.opinions.lookup import list_files
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.opinions.score_checks import score_findings
from compressvqa.plurals import count, count_are, verb
from compressvqa.video.clip import Clip
from compressvqa.video.sequence import is_sequence

# So many items are opened unless all are asked for.
SAMPLE = 24
# The frame that is compared with its reference: behind a black beginning, before most clips end.
COMPARED_FRAME = 8
# So many contents are compared for the direction, and so many pairs must be comparable to judge it.
CONTENTS, LEAST_PAIRS = 6, 8


def check(
    manifest_or_name: Manifest | str | Path, folder: str | Path | None = None, *, thorough: bool = False
) -> Report:
    """Looks at a data set and says what is missing or odd.

    Args:
        manifest_or_name: a manifest, the name of a data set, or whatever `read_dataset` takes.
        folder: the folder of a named data set, or of the files that a list of scores names.
        thorough: open every file, and not a sample of them.

    Returns:
        The report. A data set whose scores can't be read at all gives a report with that one fault.

    Raises:
        RegistryError: an unknown name.
        DataError: the folder is missing.
    """
    if isinstance(manifest_or_name, Manifest):
        return _Check(manifest_or_name, thorough).report()
    from compressvqa.opinions.read import canonical, read_dataset
    from compressvqa.registry import mos_sets

    text = str(manifest_or_name)
    if folder is not None:
        folder = Path(folder)
        if not folder.is_dir():
            raise DataError("no such folder", where=folder)
        if canonical(text) is None and not Path(text).exists():
            mos_sets[text]  # says which names there are
        text = f"{text}={folder}"
    try:
        manifest = read_dataset(text)
    except DataError as error:
        if folder is None:
            raise
        return Report(str(manifest_or_name), Path(folder), findings=(Finding("scores", str(error), "fault"),))
    return _Check(manifest, thorough).report()


class _Check:
    """One check, its findings gathered as it goes."""

    def __init__(self, manifest: Manifest, thorough: bool) -> None:
        self.manifest, self.thorough = manifest, thorough
        self.findings: list[Finding] = []
        self.listed = list_files(manifest.folder) if manifest.folder.is_dir() else []
        self.there = set(self.listed)
        self.used = {name for item in manifest.items for name in (item.distorted, item.reference)}
        self.missing: set[str] = set()
        self.unreadable: dict[str, str] = {}
        self.headers: dict[str, Seen | None] = {}
        self.looked = 0

    def report(self) -> Report:
        for look in (self.files, self.unused, self.score_findings, self.raw_lengths, self.open_sample, self.direction):
            look()
        references = {item.reference for item in self.manifest.items if item.reference is not None}
        ordered = sorted(self.findings, key=lambda finding: finding.level != "fault")
        facts = {"label": self.manifest.label, "higher_is_better": self.manifest.higher_is_better,
                 "kind": self.manifest.kind}  # fmt: skip
        return Report(
            self.manifest.name, self.manifest.folder, len(self.manifest.items), len(references), self.looked,
            tuple(ordered), self.manifest.notes, facts,
        )  # fmt: skip

    def say(self, kind: str, text: str, names: Iterable[str] = (), *, fault: bool = False, count: int = 0) -> None:
        """Adds a finding about `names`, of which the first few are shown."""
        self.findings.append(about(kind, text, names, fault=fault, count=count))

    def score_findings(self) -> None:
        self.findings += score_findings(self.manifest)

    # --- files ---

    def is_there(self, name: str) -> bool:
        path = self.manifest.folder / name
        return name in self.there or path.is_file() or is_sequence(path)

    def files(self) -> None:
        """Which files are missing, and what they may be called instead."""
        for what, names in (
            ("distorted files", [item.distorted for item in self.manifest.items]),
            ("references", [item.reference for item in self.manifest.items if item.reference is not None]),
        ):
            different = dict.fromkeys(names)
            missing = [name for name in different if not self.is_there(name)]
            self.missing.update(missing)
            if not missing:
                continue
            shown = [self._with_near(name) for name in missing[:NAMED]]
            text = f"{len(missing)} of {len(different)} {what} are missing"
            self.findings.append(Finding("missing", text, "fault", len(missing), tuple(shown)))

    def _with_near(self, name: str) -> str:
        last = PurePosixPath(name).name
        spare = [path for path in self.listed if path not in self.used]  # what an item uses has its own name
        same = [path for path in spare if PurePosixPath(path).name.casefold() == last.casefold()]
        if not same:
            stem = PurePosixPath(name).stem.casefold()
            same = [path for path in spare if PurePosixPath(path).stem.casefold() == stem]
        if not same:
            # Comparing with every name of a large folder takes long; near names begin alike.
            alike = [path for path in spare if PurePosixPath(path).name[:2].casefold() == last[:2].casefold()]
            names = {PurePosixPath(path).name: path for path in alike[:5000]}
            same = [names[near] for near in difflib.get_close_matches(last, names, n=1, cutoff=0.7)]
        return f"{name} (is it {same[0]}?)" if same else name

    def unused(self) -> None:
        """Videos and images of the folder that no item uses."""
        used = {name for item in self.manifest.items for name in (item.distorted, item.reference)}
        spare = [
            path for path in self.listed if PurePosixPath(path).suffix.lower() in MEDIA_SUFFIXES and path not in used
        ]
        if spare:
            self.say(
                "unused",
                f"{count_are(len(spare), 'file')} in the folder and used by no item",
                spare,
            )

    # --- what the files hold ---

    def clips(self, item: Item) -> list[tuple[str, Clip]]:
        """Distorted file and reference of an item, as far as they are there and described."""
        found = []
        try:
            for name, clip in ((item.distorted, self.manifest.distorted(item)),
                               (item.reference, self.manifest.reference(item))):  # fmt: skip
                if name is not None and clip is not None and name not in self.missing:
                    found.append((name, clip))
        except DataError as error:
            self.unreadable.setdefault(item.distorted, error.what)
        return found

    def raw_lengths(self) -> None:
        """Headerless files whose length is not a whole number of frames; of all, since only lengths are read."""
        odd, rateless = [], []
        done: set[str] = set()
        for item in self.manifest.items:
            for name, clip in self.clips(item):
                if clip.raw is None or name in done:
                    continue
                done.add(name)
                length = clip.path.stat().st_size
                if length == 0 or length % clip.raw.frame_bytes:
                    frames = length / clip.raw.frame_bytes
                    odd.append(f"{name} ({frames:.3f} frames of {_raw_text(clip)})")
                if clip.raw.frame_rate is None:
                    rateless.append(name)
        if odd:
            text = f"{count_are(len(odd), 'headerless file')} no whole number of frames: cut off, or of another size"
            self.say("length", text, odd, fault=True)
        if rateless:
            self.say("rate", f"the frame rate of {count(len(rateless), 'headerless file')} is not known", rateless)

    def sample(self) -> list[Item]:
        """Items that are there, spread evenly over the data set; all of them for a thorough check."""
        present = [item for item in self.manifest.items if self.missing.isdisjoint({item.distorted, item.reference})]
        if self.thorough or len(present) <= SAMPLE:
            return present
        places = np.linspace(0, len(present) - 1, SAMPLE).round().astype(int)
        return [present[place] for place in places]

    def open_sample(self) -> None:
        """Opens files: what can't be read, what the headers say unlike the manifest, how the two of an item differ."""
        differ: dict[str, list[str]] = {}
        for item in self.sample():
            self.looked += 1
            seen = [(name, self._header(name, clip)) for name, clip in self.clips(item)]
            for name, header in seen:
                if header is not None:
                    for kind, text in against_manifest(item, name, header):
                        differ.setdefault(kind, []).append(text)
            headers = [header for _, header in seen]
            if len(headers) == 2 and headers[0] is not None and headers[1] is not None:
                for kind, text in against_reference(item, headers[0], headers[1]):
                    differ.setdefault(kind, []).append(text)
        if self.unreadable:
            shown = [f"{name} ({what})" for name, what in self.unreadable.items()]
            self.say("unreadable", f"{count(len(shown), 'file')} can't be read", shown, fault=True)
        texts = {
            "size-unlike-manifest": "the manifest and {files} disagree about the frame size; the {file} {counts}",
            "rate-unlike-manifest": "the manifest and {files} disagree about the frame rate; the {file} {counts}",
            "size": "{distorted} {have} another size than {their} reference, to which it is scaled",
            "frame-rate": "{distorted} {have} another frame rate than {their} reference: frames will be held",
            "frames": "{distorted} {have} another number of frames than {their} reference: refused unless trimmed",
        }
        for kind, said in differ.items():
            names = list(dict.fromkeys(said))
            n = len(names)
            words = {"files": count(n, "file"), "file": verb(n, "file", "files"), "counts": verb(n, "counts", "count"),
                     "distorted": count(n, "distorted file"), "have": verb(n, "has", "have"),
                     "their": verb(n, "its", "their")}  # fmt: skip
            self.say(kind, texts[kind].format(**words), names)

    def _header(self, name: str, clip: Clip) -> Seen | None:
        if name not in self.headers:
            try:
                self.headers[name] = look_at(clip)
            except CompressVQAError as error:
                # A length that does not fit is said by raw_lengths, once.
                if clip.raw is None:
                    self.unreadable.setdefault(name, error.what)
                self.headers[name] = None
        return self.headers[name]

    def direction(self) -> None:
        """Whether the better of two distorted files of one content is the one nearer to its reference."""
        manifest = self.manifest
        rows = to_compare(manifest, self.missing, 1000 if self.thorough else CONTENTS)
        value, pairs = agreement(rows, self._psnr)
        if pairs < LEAST_PAIRS or (value if manifest.higher_is_better else -value) > -0.5:
            return
        better = "higher" if manifest.higher_is_better else "lower"
        text = f"{better} scores are said to be better, but of {pairs} pairs of one content most are the other way "
        self.say("direction", text + f"round by PSNR (Kendall's tau {value:.2f}): is the direction right?", fault=True)

    def _psnr(self, item: Item) -> float | None:
        """PSNR of one frame, None where it can't be taken."""
        clips = self.clips(item)
        seen = [self._header(name, clip) for name, clip in clips]
        known = [header for header in seen if header is not None]
        if len(known) != 2 or (known[0].width, known[0].height) != (known[1].width, known[1].height):
            return None
        frame = min([COMPARED_FRAME, *(header.frames - 1 for header in known if header.frames is not None)])
        try:
            distorted, reference = (luma(clip, frame) for _, clip in clips)
        except CompressVQAError:
            return None
        return psnr(reference, distorted) if reference.shape == distorted.shape else None


def _raw_text(clip: Clip) -> str:
    assert clip.raw is not None
    return f"{clip.raw.width}x{clip.raw.height} {':'.join(clip.raw.pixel_format)} {clip.raw.bitdepth} bit"
