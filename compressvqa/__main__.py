"""``python -m compressvqa`` is the command line."""

from compressvqa.cli import main

main()
