"""The folder of a run: what is in it, which stages are done, and the log of its figures."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from compressvqa.errors import CompressVQAError
from compressvqa.files import check_writable, unique, write_json, write_text
from compressvqa.running.recipe import Recipe
from compressvqa.untrusted import read_json

log = logging.getLogger(__name__)
KEY = "key.txt"  # what a stage's folder is known by


class RunFolder:
    """``recipe.yaml environment.json log.txt metrics.jsonl data/ stages/01-teacher/ model/ results.json report.html``.

    A stage is done when its ``stage.json`` stands with the key of the recipe up to that stage, and of the content of
    the data and weights that it began with. Changing a later stage of the recipe leaves the earlier ones as they are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second process out of the same folder.

        Raises:
            CompressVQAError: another process runs in it, or it can't be written.
        """
        try:
            check_writable(self.path / "recipe.yaml")
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
        except Timeout:
            hint = "wait for it, or choose another --out"
            raise CompressVQAError("another process is running in this folder", where=self.path, hint=hint) from None
        except OSError as error:
            what = f"the run folder can't be written: {error.strerror or error}"
            raise CompressVQAError(what, where=self.path) from error
        try:
            yield
        finally:
            lock.release()

    def begin(self, recipe: Recipe, environment: dict[str, Any]) -> None:
        """Writes down what is about to run, and removes stages that the recipe no longer has."""
        write_text(self.path / "recipe.yaml", recipe.to_yaml())
        write_json(self.path / "environment.json", environment)
        known = {_name_of(recipe, index) for index in range(len(recipe.stages))}
        for folder in (self.path / "stages").glob("*"):
            if folder.name not in known and re.match(r"\d\d+-", folder.name) and (folder / KEY).exists():
                _remove(folder)
                log.info("stage %s: the recipe no longer has it, removed", folder.name)
        # What a killed run left unfinished; whoever holds the lock of the folder is alone in it.
        for half in [*self.path.glob(".*.tmp"), *self.path.glob("stages/.*.tmp"), *self.path.glob("stages/*/.*.tmp")]:
            shutil.rmtree(half) if half.is_dir() else half.unlink(missing_ok=True)

    def stage(self, recipe: Recipe, index: int, identity: Mapping[str, str]) -> StageFolder:
        """The folder of a stage; what another recipe, or other data, left there is removed.

        Args:
            recipe: the recipe.
            index: the stage's place in it.
            identity: what the content of its data and weights is told by.
        """
        config, folder = recipe.stages[index], self.path / "stages" / _name_of(recipe, index)
        asked = recipe.key(index + 1)
        known = hashlib.sha256(json.dumps([asked, dict(sorted(identity.items()))]).encode()).hexdigest()
        mark = folder / KEY
        found = mark.read_text(encoding="utf-8") if mark.exists() else None
        fresh = False
        if found == hashlib.sha256(asked.encode()).hexdigest():  # of version 0.1, which kept no identity
            log.info("stage %s: an older version made it; its data are taken to be these", config.name)
            write_text(mark, known)
        elif fresh := found != known:
            if folder.exists():
                _remove(folder)
                log.info("stage %s: the recipe or its data changed, starting over", config.name)
            folder.mkdir(parents=True)
            write_text(mark, known)
        return StageFolder(folder, fresh=fresh)


def _remove(folder: Path) -> None:
    """Removes a stage's folder: from the first moment on nothing is left that could be taken for a stage."""
    hidden = folder.with_name(f".{folder.name}.{unique()}.tmp")
    folder.rename(hidden)
    shutil.rmtree(hidden)


def _name_of(recipe: Recipe, index: int) -> str:
    return f"{index + 1:02d}-{recipe.stages[index].name}"


class StageFolder:
    """``key.txt checkpoint.pt model/ stage.json``; the last is written when the stage is done.

    Args:
        path: the folder.
        fresh: nothing of the stage was kept.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path, self.fresh = path, fresh

    @property
    def model(self) -> Path:
        """The folder of the network that the stage ended with."""
        return self.path / "model"

    def result(self) -> dict[str, Any] | None:
        """The figures of the finished stage, or None when it is not done."""
        file = self.path / "stage.json"
        if not file.exists():
            return None
        self._drop_checkpoints()  # a kill may have come before
        found: dict[str, Any] = read_json(file)
        return found

    def finish(self, result: dict[str, Any]) -> None:
        """Marks the stage as done, and drops the checkpoints that it no longer needs."""
        write_json(self.path / "stage.json", result)
        self._drop_checkpoints()

    def _drop_checkpoints(self) -> None:
        for checkpoint in self.path.rglob("checkpoint.pt"):
            checkpoint.unlink()
