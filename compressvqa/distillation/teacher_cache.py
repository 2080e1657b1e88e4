"""Keeps what a teacher said about a clip, so that it is not run again for the same clip, also after a restart."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from compressvqa.errors import DataError, TrainingError
from compressvqa.files import replacing

log = logging.getLogger(__name__)

FLUSH_VALUES, FLUSH_BYTES = 4096, 64 * 2**20
SMALL = 64  # values of at most so many numbers stay in memory, larger ones are read from disk when asked for


class TeacherCache:
    """Tensors by key: a teacher's score of a clip, or one of its feature maps.

    On disk a cache is a folder ``<folder>/<fingerprint>`` of safetensors files that are written once, under a temporary
    name that is then renamed; another teacher gets another folder, so a stale score can't be read. A value is written
    when enough have come together and at `flush` or `close`; what was not written is lost by a kill and computed again.
    For a resumed run that equals an uninterrupted one to the bit, `flush` when a checkpoint is written: a teacher's
    score may differ in its last bits with the batch it was computed in.

    When `max_bytes` are reached nothing further is kept: a training reads its clips over and over in random order,
    where throwing old values out would throw out just those that come next.

    Args:
        folder: where to keep the values, made if needed; None keeps them in memory only.
        max_bytes: most bytes of values (of files, for those found on disk).
        teacher: what its answers depend on: `compressvqa.fingerprint.weights_digest`, or `compressvqa.code_digest` of
            weights and code, and for example the precision ("3f...-bf16").

    Raises:
        DataError: a file of the cache is damaged, or the folder can't be written.

    >>> cache = TeacherCache(None, max_bytes=2**20)
    >>> cache.put(["clip 1", "clip 2"], torch.tensor([0.5, 0.25]))
    >>> cache.get(["clip 2", "clip 3"])
    [tensor(0.2500), None]
    """

    def __init__(self, folder: Path | str | None, *, max_bytes: int, teacher: str = "teacher") -> None:
        if folder is not None and (not teacher or Path(teacher).name != teacher):
            raise DataError(f"the teacher's fingerprint {teacher!r} is no file name", where="teacher cache")
        self.folder = None if folder is None else Path(folder) / teacher
        self.max_bytes, self.bytes = max_bytes, 0
        self.hits = self.misses = 0
        self._values: dict[str, Tensor] = {}  # in memory: small ones, and those not yet on disk
        self._files: dict[str, Path] = {}  # large ones on disk
        self._pending: dict[str, Tensor] = {}
        self._full_said = False
        if self.folder is not None:
            self._open(self.folder)

    def __len__(self) -> int:
        return len(self._values.keys() | self._files.keys())

    def __contains__(self, key: object) -> bool:
        return key in self._values or key in self._files

    def __enter__(self) -> TeacherCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def full(self) -> bool:
        """Whether a value was refused because it did not fit into `max_bytes`."""
        return self._full_said

    def get(self, keys: Sequence[str]) -> list[Tensor | None]:
        """The value of each key, on the CPU, or None where it is not known."""
        found = [self._read(key) for key in keys]
        self.hits += sum(value is not None for value in found)
        self.misses += sum(value is None for value in found)
        return found

    def put(self, keys: Sequence[str], values: Tensor | Sequence[Tensor]) -> None:
        """Keeps one value a key: the rows of a tensor (len(keys), ...), or a list of tensors. A known key is skipped.

        Raises:
            TrainingError: keys and values differ in number, or a value is not finite (it would come back for ever).
        """
        if len(keys) != len(values):
            raise TrainingError(f"{len(keys)} keys for {len(values)} values", where="teacher cache")
        for key, value in zip(keys, values, strict=True):
            if key in self:
                continue
            kept = value.detach().cpu().clone().contiguous()
            if not torch.isfinite(kept).all():
                raise TrainingError(f"the teacher's output for {key!r} is not finite", where="teacher cache")
            if self.bytes + kept.nbytes > self.max_bytes:
                if not self._full_said:
                    log.warning("teacher cache: full at %d values of %d bytes", len(self), self.bytes)
                self._full_said = True
                continue
            self.bytes += kept.nbytes
            self._values[key] = kept
            if self.folder is not None:
                self._pending[key] = kept
        if len(self._pending) >= FLUSH_VALUES or sum(v.nbytes for v in self._pending.values()) >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what is not on disk yet, all of it or nothing."""
        if not self._pending or self.folder is None:
            return
        name = hashlib.sha256("\n".join(self._pending).encode()).hexdigest()[:12]
        target = self.folder / f"{len(list(self.folder.glob('*.safetensors'))):06d}-{name}.safetensors"
        try:
            with replacing(target) as temporary:
                temporary.write_bytes(save(self._pending))
        except OSError as error:
            raise DataError(f"can't be written: {error.strerror or error}", where=self.folder) from error
        for key, value in self._pending.items():
            if value.numel() > SMALL:
                self._files[key] = target
                del self._values[key]
        self._pending = {}

    def close(self) -> None:
        """Writes what is not on disk yet. The cache can still be used."""
        self.flush()

    def _open(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".*.tmp"):  # by a kill; the folder belongs to one stage of one run
                left.unlink()
        except OSError as error:
            raise DataError(f"can't be made: {error.strerror or error}", where=folder) from error
        for path in sorted(folder.glob("*.safetensors")):
            try:
                self.bytes += path.stat().st_size
                with safe_open(path, framework="pt") as file:
                    for key in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                        if math.prod(file.get_slice(key).get_shape()) <= SMALL:
                            self._values[key] = file.get_tensor(key)
                        else:
                            self._files[key] = path
            except (SafetensorError, OSError) as error:
                raise DataError(f"damaged: {error}", where=path, hint="delete this file") from error

    def _read(self, key: str) -> Tensor | None:
        if key in self._values:
            return self._values[key].clone()  # the caller may write into it
        path = self._files.get(key)
        if path is None:
            return None
        try:
            with safe_open(path, framework="pt") as file:
                value: Tensor = file.get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise DataError(f"damaged: {error}", where=path, hint="delete this file") from error
        return value
