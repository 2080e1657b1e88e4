"""A table as LaTeX for a paper: booktabs, both columns of a page, every text escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "\n": " ",
}  # fmt: skip
PRINT_WIDTH = 516  # points: both columns of an IEEE page; wider tables are scaled to it


def latex_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[tuple[str, str, bool]]],
    caption: str,
    label: str,
    width_of: Callable[[str], int],
) -> str:
    """The source of a table.

    Args:
        heads: the headings.
        rows: (figure, what stands smaller after it, whether it is bold) each.
        caption: its caption.
        label: after "tab:".
        width_of: letters that a text takes.
    """
    stacks = [broken(head) for head in heads]
    lines = [[max(stack, key=len) for stack in stacks]]
    lines += [[f"{text} {small}".strip() for text, small, _ in row] for row in rows]
    # About how wide it is, in points: 4 a letter at 8 points, 8 between columns.
    wide = sum(4 * max(width_of(line[place]) for line in lines) + 8 for place in range(len(heads))) > PRINT_WIDTH
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}" + (" and \\usepackage{graphicx}" if wide else ""),
            r"\begin{table*}",
            r"  \centering",
            f"  \\caption{{{escaped(caption)}}}",
            f"  \\label{{tab:{re.sub(r'[^A-Za-z0-9:-]+', '-', label)}}}",
            r"  \footnotesize\setlength{\tabcolsep}{4pt}",
            *([r"  \resizebox{\textwidth}{!}{%"] if wide else []),
            f"  \\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
            r"    \toprule",
            f"    {' & '.join(_head(stack) for stack in stacks)} \\\\",
            r"    \midrule",
            *(f"    {' & '.join(_cell(*cell) for cell in row)} \\\\" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}" + ("}" if wide else ""),
            r"\end{table*}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """Text with LaTeX's own characters escaped; other letters stay, LaTeX reads UTF-8.

    >>> escaped("a_b & 100 %, ~2^3"), escaped("-1")
    ('a\\\\_b \\\\& 100 \\\\%, \\\\textasciitilde{}2\\\\textasciicircum{}3', '-1')
    """
    return "".join(_LATEX.get(letter, letter) for letter in text)


def broken(head: str) -> list[str]:
    """A heading in lines of about nine letters.

    >>> broken("MACs, conv & linear (G)"), broken("NFLX-P")
    (['MACs,', 'conv &', 'linear', '(G)'], ['NFLX-P'])
    """
    lines: list[str] = []
    for word in head.split() or [""]:
        if lines and len(lines[-1]) + len(word) < 9:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _head(stack: Sequence[str]) -> str:
    lines = r" \\ ".join(map(escaped, stack))
    return f"\\shortstack[r]{{{lines}}}" if len(stack) > 1 else lines


def _cell(text: str, small: str, bold: bool) -> str:
    shown = f"\\textbf{{{escaped(text)}}}" if bold else escaped(text)
    return f"{shown} {{\\scriptsize {escaped(small)}}}" if small else shown
