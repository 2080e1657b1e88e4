"""`python -m scripts.pages --write | --check | --build`: see the package."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))  # the package of this checkout, wherever the command is given


def main(arguments: list[str]) -> int:
    """Exit code 0, or 1 with one line for each fault."""
    if arguments == ["--build"]:
        from scripts.pages.site import build

        return build(ROOT)
    if arguments not in (["--write"], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    from scripts.pages.generated import generated, write

    pages = generated(ROOT)
    if arguments == ["--write"]:
        write(pages)
        return 0
    late = differing(pages)
    for path in late:
        print(f"{path.relative_to(ROOT)} is not what the code says: run `make reference`")
    return 1 if late else 0


def differing(pages: dict[Path, str]) -> list[Path]:
    """The pages that are missing or not what they should be."""
    return [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
