"""A store of pictures of wrong captions: made once, appended to, read at random.

Layout of a store::

    about.json               what this folder is
    shards/UNIT.tar          the pictures as WebDataset has them: members KEY.json and KEY.jpg, uncompressed
    manifest/UNIT.parquet    one row a picture; written after the tar: without it the unit is not there
    rows.arrow               the rows of many units in one file that can be mapped; made by merge(), never needed

A unit is written once and never changed; one that was deleted and is written anew takes rows.arrow away.
Another seed or another pipeline adds units. The manifest says where in its shard each picture lies, so reading one is
one seek.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
from PIL import Image

from lightning_cr.errors import DataError
from lightning_cr.files import reason, whole_file
from lightning_cr.images import UnreadableImage, read_image
from lightning_cr.negatives.image.manifest import (
    NOWHERE,
    Made,
    Place,
    length_of,
    map_rows,
    merged_rows,
    read_unit,
    unit_rows,
)

__all__ = ["Made", "PictureStore"]

_ABOUT = {"format": "lightning_cr pictures of wrong captions", "version": 1}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,89}")  # WebDataset splits a member's name at its first dot


class PictureStore:
    """Pictures of wrong captions in a folder.

    A process that is handed the store gets the folder and the names of the units, and opens the rows itself; those in
    ``rows.arrow`` are mapped and shared.

    Args:
        folder: The store.
        create: Whether to make it where it is not there.

    Raises:
        DataError: There is no such folder, it is something else, or a shard is missing or has another size than when it
            was written.
    """

    def __init__(self, folder: str | Path, create: bool = False) -> None:
        self.folder = Path(folder).expanduser()
        self._check(create)
        self._open(self._written())
        self.verify()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "units": self._units}  # not the rows; and of these units, whatever came since

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder = state["folder"]
        self._open(state["units"])

    def _open(self, units: frozenset[str]) -> None:
        self._units = units
        self.__dict__.pop("rows", None)
        self._merged, sizes = map_rows(self._arrow)
        self._joined = frozenset(sizes)
        # Whoever copies other units of the same names here must not get the old ones' rows.
        self._lengths = {
            unit: shard
            for unit, (manifest, shard) in sizes.items()
            if unit in units and self._manifest(unit).stat().st_size == manifest
        }
        if len(self._lengths) < len(sizes):
            known = pa.array(sorted(self._lengths), pa.string())
            self._merged = self._merged.filter(compute.is_in(self._merged["unit"].cast(pa.string()), known))

    @property
    def units(self) -> frozenset[str]:
        """Units that are written, as of the opening, and since then by this object."""
        return self._units

    @cached_property
    def rows(self) -> Any:
        """All rows, a :class:`pyarrow.Table`; see :data:`lightning_cr.negatives.image.manifest.SCHEMA`."""
        others = sorted(self._units - self._lengths.keys())
        return pa.concat_tables([self._merged, *(read_unit(self._manifest(unit)) for unit in others)])

    def __len__(self) -> int:
        """Rows, those without a picture too."""
        return len(self.rows)

    def said(self, index: int, *columns: str) -> list[Any]:
        """What a row says in these columns."""
        return [self.rows.column(name)[index].as_py() for name in columns]

    def write(self, unit: str, rows: Sequence[Made], pictures: Sequence[bytes | None], suffix: str = "jpg") -> None:
        """Adds a unit: after this it is there, whole, or nothing is.

        Args:
            unit: Its name: letters, digits, ``_`` and ``-``.
            rows: What was made.
            pictures: The encoded picture of each row; None where it was dropped.
            suffix: What the encoding is, ``jpg`` or ``png``.

        Raises:
            DataError: The unit is there already, or the disk does not take it; the store is then as it was.
            ValueError: A name that cannot be used, or rows and pictures that do not fit each other.
        """
        _check_unit(unit, rows, pictures)
        if self._manifest(unit).exists():
            raise DataError(f"the unit {unit} is in {self.folder} already; units are never changed: write another")
        length, places = 0, [NOWHERE] * len(rows)
        with self._writing():
            if any(pictures):
                with whole_file(self._shard(unit)) as file:
                    places = list(_write_tar(file, rows, pictures, suffix))
                    length = file.tell()
            if unit in self._joined:  # its manifest was deleted, and the joined rows are those of the unit that was
                self._arrow.unlink(missing_ok=True)
            with whole_file(self._manifest(unit)) as file:  # last: this is what makes the unit count
                file.write(unit_rows(unit, suffix, length, rows, places))
        if unit in self._joined:
            self._open(self._units | {unit})
        self._units |= {unit}
        self.__dict__.pop("rows", None)

    def merge(self) -> None:
        """Joins the rows of all units that are written, by whomever, in one file that readers map.

        The units' own manifests stay and remain what counts, so it can be stopped, or run twice at once.

        Raises:
            DataError: The disk does not take it, or a unit cannot be read.
        """
        units = self._written()
        self._open(units)
        sizes = {unit: (self._manifest(unit).stat().st_size, self._length(unit)) for unit in sorted(units)}
        with self._writing(), whole_file(self._arrow) as file:
            file.write(merged_rows(self.rows, sizes))
        self._open(units)

    def read(self, index: int) -> bytes:
        """The encoded picture of a row, checked against its sha256.

        Raises:
            UnreadableImage: Its shard is missing or damaged, or the row has no picture.
        """
        unit, *where = self.said(index, "unit", *Place._fields)
        place = Place(*where)
        if not place.size:
            key, dropped = self.said(index, "key", "dropped")
            raise UnreadableImage(
                f"{key} in {self.folder} has no picture (it was dropped: {dropped}); read another row"
            )
        try:
            with self._shard(unit).open("rb", buffering=0) as file:
                file.seek(place.offset)
                data = file.read(place.size)
        except OSError as error:
            why = f"cannot be read at {self.said(index, 'key')[0]} ({reason(error)})"
            raise UnreadableImage(self._damaged(unit, why)) from error
        if hashlib.sha256(data).digest() != place.sha256:
            raise UnreadableImage(self._damaged(unit, f"is damaged at {self.said(index, 'key')[0]}"))
        return data

    def image(self, index: int) -> Image.Image:
        """The picture of a row, in RGB.

        Raises:
            UnreadableImage: As :meth:`read`, or what was stored is no picture.
        """
        return read_image(f"{self.folder}, row {index}", self.read(index))

    def verify(self) -> None:
        """Checks that every shard is there and as long as when it was written; :meth:`read` checks each picture.

        Raises:
            DataError: The first that is not.
        """
        for unit in sorted(self._units):
            length = self._length(unit)
            try:
                found = self._shard(unit).stat().st_size if length else 0
            except OSError as error:
                raise DataError(self._damaged(unit, f"cannot be read ({reason(error)})")) from error
            if found != length:
                raise DataError(self._damaged(unit, f"has {found:,} bytes, not the {length:,} that were written"))

    def _length(self, unit: str) -> int:
        """Bytes of a unit's shard as it was written."""
        return self._lengths[unit] if unit in self._lengths else length_of(self._manifest(unit))

    @property
    def _arrow(self) -> Path:
        return self.folder / "rows.arrow"

    def _shard(self, unit: str) -> Path:
        return self.folder / "shards" / f"{unit}.tar"

    def _manifest(self, unit: str) -> Path:
        return self.folder / "manifest" / f"{unit}.parquet"

    def _written(self) -> frozenset[str]:
        return frozenset(path.stem for path in (self.folder / "manifest").glob("*.parquet"))

    def _damaged(self, unit: str, what: str) -> str:
        return (
            f"the shard {self._shard(unit)} {what}; bring it back, or delete {self._manifest(unit)}, and"
            " python -m lightning_cr synthesize makes its pictures again"
        )

    def _check(self, create: bool) -> None:
        """Refuses a folder that is no store, and makes one where that is wanted."""
        about = self.folder / "about.json"
        try:
            found = json.loads(about.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            if self.folder.exists() and not (create and _is_empty(self.folder)):
                if about.is_file():  # another process has made the store since
                    return self._check(create)
                raise DataError(
                    f"{self.folder} is no store of pictures, it has no about.json; name another folder"
                ) from None
            if not create:
                raise DataError(
                    f"there is no store of pictures {self.folder}; make one: python -m lightning_cr synthesize --help"
                ) from None
            with self._writing(), whole_file(about) as file:
                file.write(json.dumps(_ABOUT, indent=2).encode() + b"\n")
            return
        except (OSError, ValueError) as error:
            raise DataError(f"{about} cannot be read ({' '.join(str(error).split())}); name another folder") from error
        if found != _ABOUT:
            raise DataError(
                f"{about} says {json.dumps(found)[:80]}, not {json.dumps(_ABOUT)}: a store of another format; name"
                " another folder"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.folder} cannot be written ({reason(error)}); what was in it is unharmed: free space or mend it,"
                " and run the same command again"
            ) from error


def _is_empty(folder: Path) -> bool:
    # Another process that makes the same store may be writing its about.json, under a name with a dot.
    return folder.is_dir() and all(path.name[0] == "." for path in folder.iterdir())


def _check_unit(unit: str, rows: Sequence[Made], pictures: Sequence[bytes | None]) -> None:
    for name in (unit, *(row.key for row in rows)):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a unit or a member of a shard; allowed is {_NAME.pattern}")
    if len({row.key for row in rows}) < len(rows):
        raise ValueError(f"a key comes twice in the unit {unit}")
    for row, picture in zip(rows, pictures, strict=True):
        if bool(picture) == bool(row.dropped):
            raise ValueError(f"{row.key}: a row has a picture, or `dropped` says why not; it is {row.dropped!r}")


def _write_tar(file: Any, rows: Sequence[Made], pictures: Sequence[bytes | None], suffix: str) -> Iterator[Place]:
    """Writes each picture behind its row as JSON, and says where it lies."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row, picture in zip(rows, pictures, strict=True):
            if picture is None:
                yield NOWHERE
                continue
            about = json.dumps(asdict(row), ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")
            begin = 0
            for ending, data in (("json", about), (suffix, picture)):
                info = tarfile.TarInfo(f"{row.key}.{ending}")  # no owner and no time: the same rows, the same bytes
                info.size = len(data)
                begin = tar.offset + tarfile.BLOCKSIZE  # behind its head
                tar.addfile(info, io.BytesIO(data))
            yield Place(begin, len(picture), hashlib.sha256(picture).digest())
