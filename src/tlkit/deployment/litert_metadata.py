"""The text in the metadata of a LiteRT file, read without any package."""

import struct

# A flat buffer consists of tables. A table begins with its distance from its list of fields, which
# holds the position of each field in the table, or 0. For texts, vectors and tables, a field holds
# the distance from the field to the content. In a LiteRT model, the root table has the buffers as
# field 4 and the metadata as field 6; metadata have a name (0) and the index of a buffer (1), and a
# buffer has its data as field 0.
_BUFFERS, _METADATA, _NAME, _INDEX, _DATA = 4, 6, 0, 1, 0


def read(content: bytes, name: str) -> str | None:
    """Return the metadata with this name; None if a file has no such metadata.

    Args:
        content: The content of the file.
        name: The name of the metadata.
    """
    try:
        root = _follow(content, 0)
        for each in _tables(content, root, _METADATA):
            if _bytes(content, each, _NAME) == name.encode():
                place = _field(content, each, _INDEX)
                index = _number(content, place) if place else 0
                return _bytes(content, _tables(content, root, _BUFFERS)[index], _DATA).decode()
    except (struct.error, IndexError, UnicodeDecodeError):  # not a flat buffer: the runtime fails
        return None
    return None


def _number(content: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", content, at)[0])


def _follow(content: bytes, at: int) -> int:
    return at + _number(content, at)


def _field(content: bytes, table: int, index: int) -> int:
    """Return the position of a field of a table; 0 if the table lacks it."""
    layout = table - struct.unpack_from("<i", content, table)[0]
    [size] = struct.unpack_from("<H", content, layout)
    if 4 + 2 * index >= size:
        return 0
    [offset] = struct.unpack_from("<H", content, layout + 4 + 2 * index)
    return table + offset if offset else 0


def _tables(content: bytes, table: int, index: int) -> list[int]:
    place = _field(content, table, index)
    if not place:
        return []
    vector = _follow(content, place)
    return [_follow(content, vector + 4 + 4 * at) for at in range(_number(content, vector))]


def _bytes(content: bytes, table: int, index: int) -> bytes:
    place = _field(content, table, index)
    if not place:
        return b""
    vector = _follow(content, place)
    return content[vector + 4 : vector + 4 + _number(content, vector)]
