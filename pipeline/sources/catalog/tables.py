"""The catalog's tables.

::

    archive        a folder or file that was ingested
    study, series  digests of UIDs; whose, and of which modality
    volume         what files became; ``number`` counts them in the order of their coming
    file           what became of every file; tally: how many ended so, since counting a million takes a while
    past           what became of a file before: its outcomes since then replaced, and files that are gone
    volume_file    which files a volume was read from, and which annotate it
    place          the first image file of a volume in each folder that holds any of it
    annotation     who annotates a volume; annotation_label: with how many objects of which label
    provenance     when, by which reader and release, from which bytes a volume was made

``place`` answers "which volumes lie below this folder?" from one row a volume instead of one a slice. ``volume.files``
(image files), ``outcome`` (the worst of its files) and ``annotated`` are kept up to date with every save, so that
listings need no other table. A volume without files is kept, since the store keeps it, but it is not listed.
"""

from typing import Any

import sqlalchemy as sql
from sqlalchemy.types import TypeDecorator

# Raised with every change of the tables.
SCHEMA = 3

_ODD = 0x10FF00  # the last private-use code points stand for bytes of file names that are not UTF-8
_TO_STORED = {0xDC00 + byte: _ODD + byte for byte in range(0x80, 0x100)}
_FROM_STORED = {stored: surrogate for surrogate, stored in _TO_STORED.items()}

# Compared byte by byte in every database, so that "everything below a folder" is one range of the index.
_BYTEWISE = sql.Text().with_variant(sql.Text(collation="C"), "postgresql")
_NUMBER = sql.BigInteger().with_variant(sql.Integer, "sqlite")
_DIGEST = sql.String(64).with_variant(sql.String(64, collation="C"), "postgresql")


class PathText(TypeDecorator[str]):
    """A path. File names that are not UTF-8, which Python shows with surrogates, are kept too."""

    impl = sql.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sql.Dialect) -> Any:
        return dialect.type_descriptor(sql.Text(collation="C" if dialect.name == "postgresql" else None))

    def process_bind_param(self, value: str | None, dialect: sql.Dialect) -> str | None:
        return value if value is None or value.isascii() else value.translate(_TO_STORED)

    def process_result_value(self, value: str | None, dialect: sql.Dialect) -> str | None:
        return value if value is None or value.isascii() else value.translate(_FROM_STORED)


metadata = sql.MetaData()

schema_version = sql.Table("catalog_schema", metadata, sql.Column("version", sql.Integer, primary_key=True))

archives = sql.Table(
    "archive",
    metadata,
    sql.Column("root", PathText, primary_key=True),
    sql.Column("first_at", sql.BigInteger, nullable=False),
    sql.Column("last_at", sql.BigInteger, nullable=False),
)

studies = sql.Table(
    "study",
    metadata,
    sql.Column("study", _DIGEST, primary_key=True),
    sql.Column("patient_key", _DIGEST, nullable=False),
)

series = sql.Table(
    "series",
    metadata,
    sql.Column("series", _DIGEST, primary_key=True),
    sql.Column("study", _DIGEST),
    sql.Column("modality", sql.String(16), nullable=False),
)

volumes = sql.Table(
    "volume",
    metadata,
    sql.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sql.Column("volume_id", _DIGEST, nullable=False, unique=True),
    sql.Column("store", PathText, nullable=False),
    sql.Column("patient_key", _DIGEST, nullable=False),
    sql.Column("study", _DIGEST),
    sql.Column("series", _DIGEST),
    sql.Column("modality", sql.String(16), nullable=False),
    sql.Column("part", sql.Text, nullable=False),
    sql.Column("shape", sql.JSON, nullable=False),
    sql.Column("spacing", sql.JSON, nullable=False),
    sql.Column("unit", sql.String(8), nullable=False),
    sql.Column("channels", sql.Integer, nullable=False),
    sql.Column("attributes", sql.JSON, nullable=False),
    sql.Column("files", sql.Integer, nullable=False, default=0),
    sql.Column("outcome", sql.String(16), nullable=False, default="ingested"),
    sql.Column("annotated", sql.Boolean, nullable=False, default=False),
)
for _name in ("modality", "outcome", "annotated", "series", "study", "patient_key"):
    sql.Index(f"volume_by_{_name}", volumes.c[_name], volumes.c.number)

files = sql.Table(
    "file",
    metadata,
    sql.Column("id", _NUMBER, primary_key=True, autoincrement=True),
    sql.Column("path", PathText, nullable=False, unique=True),
    sql.Column("size", sql.BigInteger, nullable=False),
    sql.Column("mtime_ns", sql.BigInteger, nullable=False),
    sql.Column("reader", sql.String(32), nullable=False),
    sql.Column("kind", sql.String(16), nullable=False),
    sql.Column("outcome", sql.String(16), nullable=False),
    sql.Column("reason", _BYTEWISE, nullable=False),
    sql.Column("digest", _DIGEST),
    sql.Column("series", _DIGEST),
    sql.Column("instance", _DIGEST),
    sql.Column("recorded_at", sql.BigInteger, nullable=False),
)
# Partial: of the many files that were ingested without a remark, neither index holds one.
# They serve queries that say the same condition in the same words.
NOT_INGESTED = sql.text("file.outcome <> 'ingested'")
HAS_REASON = sql.text("file.reason <> ''")
for _name, _condition in (("outcome", NOT_INGESTED), ("reason", HAS_REASON)):
    _where = sql.text(_condition.text.removeprefix("file."))
    sql.Index(f"file_by_{_name}", files.c[_name], files.c.path, sqlite_where=_where, postgresql_where=_where)

tally = sql.Table(
    "tally",
    metadata,
    sql.Column("outcome", sql.String(16), primary_key=True),
    sql.Column("files", sql.BigInteger, nullable=False),
    sql.Column("bytes", sql.BigInteger, nullable=False),
)

past = sql.Table(
    "past",
    metadata,
    sql.Column("id", _NUMBER, primary_key=True, autoincrement=True),
    sql.Column("path", PathText, nullable=False, index=True),
    sql.Column("size", sql.BigInteger, nullable=False),
    sql.Column("mtime_ns", sql.BigInteger, nullable=False),
    sql.Column("outcome", sql.String(16), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("digest", _DIGEST),
    sql.Column("recorded_at", sql.BigInteger, nullable=False),
    sql.Column("until", sql.BigInteger, nullable=False),
    sql.Column("gone", sql.Boolean, nullable=False),
)

volume_files = sql.Table(
    "volume_file",
    metadata,
    sql.Column("volume", _NUMBER, primary_key=True, autoincrement=False),
    sql.Column("file", _NUMBER, primary_key=True, autoincrement=False),
    sql.Column("position", sql.Integer, nullable=False),
    sqlite_with_rowid=False,
)
sql.Index("volume_file_by_file", volume_files.c.file)

places = sql.Table(
    "place",
    metadata,
    sql.Column("path", PathText, primary_key=True),
    sql.Column("volume", _NUMBER, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
sql.Index("place_by_volume", places.c.volume)

annotations = sql.Table(
    "annotation",
    metadata,
    sql.Column("volume", _NUMBER, primary_key=True, autoincrement=False),
    sql.Column("path", PathText, nullable=False, index=True),
    sql.Column("format", sql.String(32), nullable=False),
    sql.Column("objects", sql.Integer, nullable=False),
    sql.Column("from_points", sql.Boolean, nullable=False),
)

annotation_labels = sql.Table(
    "annotation_label",
    metadata,
    sql.Column("volume", _NUMBER, primary_key=True, autoincrement=False),
    sql.Column("label", _BYTEWISE, primary_key=True),
    sql.Column("objects", sql.Integer, nullable=False),
    sqlite_with_rowid=False,
)
sql.Index("annotation_label_by_label", annotation_labels.c.label, annotation_labels.c.volume)

provenance = sql.Table(
    "provenance",
    metadata,
    sql.Column("id", _NUMBER, primary_key=True, autoincrement=True),
    sql.Column("volume", _NUMBER, nullable=False),
    sql.Column("made_at", sql.BigInteger, nullable=False),
    sql.Column("reader", sql.String(32), nullable=False),
    sql.Column("source", _DIGEST, nullable=False),
    sql.Column("version", sql.String(32), nullable=False),
    sql.UniqueConstraint("volume", "reader", "source", "version"),
)
