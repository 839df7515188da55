"""What lies at a path: which part is meant, bytes, and text in a known encoding."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sampler.errors import InputError

LARGEST_FILE = 512 * 2**20


@dataclass(frozen=True)
class Source:
    """A text file that was read, before it is understood."""

    path: str                 # as the user gave it, without the part
    part: str                 # "" where none was named
    text: str
    notes: tuple[str, ...]    # what was recognised while decoding

    @property
    def lines(self) -> list[str]:
        """As editors count them: `str.splitlines` also breaks at a form feed, or at what a Windows
        ellipsis becomes in Latin-1."""
        lines = self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return lines if lines[-1] else lines[:-1]

    @property
    def ending(self) -> str:
        """Of the file's name, in small letters: ``".csv"``."""
        return Path(self.path).suffix.lower()


def located(path: str | Path) -> tuple[Path, str]:
    """The file and the part of ``FILE:PART``; a file that bears the whole name wins.

    Examples
    --------
    >>> located("no_such_file.vms:Fe 2p")[1]
    ''
    """
    text = str(path)
    if not os.path.exists(text):
        for i in (i for i, sign in enumerate(text) if sign == ":" and i):
            if os.path.exists(text[:i]):
                return Path(text[:i]), text[i + 1:].strip()
    return Path(path), ""


def short_name(path: str | Path) -> str:
    """The file's name without its folders, and the part.

    Examples
    --------
    >>> short_name("data/spectrum.csv")
    'spectrum.csv'
    """
    file, part = located(path)
    return f"{file.name}:{part}" if part else file.name


def default_stem(path: str | Path) -> str:
    """A name for what is made of a file: its own without ending, and without the part.

    Examples
    --------
    >>> default_stem("data/spectrum.csv")
    'spectrum'
    """
    return located(path)[0].stem


def checked(path: Path, limit: int | None = LARGEST_FILE) -> Path:
    """The same path, if a regular file of a size that can be read is there."""
    try:
        if path.is_dir():
            raise InputError(str(path), "a folder", "a file",
                             "of folders only Bruker's, with ser and vdlist, can be read")
        if not path.exists():
            raise InputError(str(path), "no such file", "the path of a measured file")
        if not path.is_file():
            raise InputError(str(path), "not a regular file", "a measured file")
        size = path.stat().st_size
    except OSError as error:
        raise InputError(str(path), str(error.strerror), "a readable file") from None
    if limit is not None and size > limit:
        raise InputError(str(path), f"{size / 2**20:.0f} MiB", f"at most {limit // 2**20} MiB")
    return path


def raw_bytes(path: Path) -> bytes:
    """The whole file, refused when it is too large or cannot be read."""
    try:
        return checked(path).read_bytes()
    except OSError as error:
        raise InputError(str(path), str(error.strerror), "a readable file") from None


def source(path: Path, part: str = "") -> Source:
    """The text of a file: UTF-8, UTF-16 with its mark, or else Latin-1, and said."""
    raw = raw_bytes(path)
    notes: tuple[str, ...] = ()
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"),
                           (b"\xfe\xff", "utf-16")):
        if raw.startswith(mark):
            notes = (f"a byte-order mark was skipped ({encoding})",)
            break
    else:
        encoding = "utf-8"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text, notes = raw.decode("latin-1"), ("not UTF-8: read as Latin-1",)
    if "\0" in text:
        raise InputError(str(path), "a binary file", "a text table")
    return Source(str(path), part, text, notes)
