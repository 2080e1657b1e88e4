"""Files that hold no picture and name others instead: playlists and lists of parts. They are refused by name.

A player follows them to wherever they point, to other files and over the network; a metric has no business there.
"""

from __future__ import annotations

import re
from pathlib import Path

HEAD = 4096
_SIGNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("HLS", re.compile(rb"\s*#EXT(M3U|-X-|INF)")),
    ("DASH", re.compile(rb"(?s)\s*(<\?xml.{0,2000})?<MPD\b")),
    ("Smooth Streaming", re.compile(rb"(?s)\s*(<\?xml.{0,2000})?<SmoothStreamingMedia\b")),
    ("XSPF, ASX or SMIL", re.compile(rb"(?si)\s*(<\?xml.{0,2000})?<(playlist|asx|smil)\b")),
    ("ffconcat", re.compile(rb"\s*ffconcat version")),
    ("concat", re.compile(rb"\s*(#[^\n]*\n\s*)*file\s+\S")),
    ("PLS", re.compile(rb"(?i)\s*\[(playlist|reference)\]")),
    ("SDP", re.compile(rb"\s*v=0\r?\n[a-z]=")),
    ("M3U", re.compile(rb"\s*[a-z][a-z0-9+.-]+://\S", re.IGNORECASE)),
)
_SUFFIXES = {".m3u8": "HLS", ".m3u": "M3U", ".mpd": "DASH", ".ffconcat": "ffconcat", ".concat": "concat", ".pls": "PLS",
             ".sdp": "SDP", ".xspf": "XSPF", ".asx": "ASX", ".smil": "SMIL", ".ism": "Smooth Streaming"}  # fmt: skip


def playlist_of(path: Path) -> str | None:
    """The kind of playlist that a file is, by what it begins with or by its suffix; None where it is none."""
    with path.open("rb") as file:
        head = file.read(HEAD).removeprefix(b"\xef\xbb\xbf")
    found = next((kind for kind, sign in _SIGNS if sign.match(head)), None)
    return found or _SUFFIXES.get(path.suffix.lower())
