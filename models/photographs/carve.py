"""Read single members out of the two containers that hold photographs.

`.rcc` is Qt's binary resource format, `.edj` is an Eet archive. Both have a
directory with the offset and the length of each member, so the members come
out byte for byte as they were put in; nothing is decoded or encoded again.

A WebP picture may also carry a preview (a small JPEG in its EXIF block, at
times with more of the scene than the picture itself); `preview` gives it.

Run as `carve.py CONTAINER` to list the members (bytes and name).
"""

import struct
import sys
import zlib

RCC_ZLIB, RCC_FOLDER, RCC_ZSTD = 1, 2, 4
EET_MAGIC = 0x1EE70F42


class CarveError(Exception):
    """The container is not what it should be."""


def rcc_members(data):
    """Map each file in a Qt resource to a function that gives its bytes."""
    if data[:4] != b"qres":
        raise CarveError("not a Qt resource")
    version, tree, payload, names = struct.unpack_from(">4I", data, 4)
    if not 1 <= version <= 3:
        raise CarveError(f"Qt resource of unknown version {version}")
    node_size = 14 if version == 1 else 22
    members = {}

    def content(offset, flags):
        start = payload + offset
        (size,) = struct.unpack_from(">I", data, start)
        raw = data[start + 4 : start + 4 + size]
        if flags & RCC_ZSTD:
            raise CarveError("member is compressed with zstd")
        # qCompress puts the length of the plain data before the zlib stream.
        return zlib.decompress(raw[4:]) if flags & RCC_ZLIB else raw

    def walk(index, path):
        name_at, flags = struct.unpack_from(">IH", data, tree + index * node_size)
        if index:
            (length,) = struct.unpack_from(">H", data, names + name_at)
            text = names + name_at + 6  # the length, then a hash of the name
            name = data[text : text + 2 * length].decode("utf-16-be")
            path = f"{path}/{name}" if path else name
        if flags & RCC_FOLDER:
            count, first = struct.unpack_from(">2I", data, tree + index * node_size + 6)
            for child in range(first, first + count):
                walk(child, path)
        else:
            _locale, offset = struct.unpack_from(">2I", data, tree + index * node_size + 6)
            members[path] = lambda: content(offset, flags)

    walk(0, "")
    return members


def eet_members(data):
    """Map each entry of an Eet archive to a function that gives its bytes."""
    magic, count, _strings = struct.unpack_from(">3I", data)
    if magic != EET_MAGIC:
        raise CarveError("not an Eet archive")

    def content(offset, size, plain_size):
        raw = data[offset : offset + size]
        if size != plain_size:  # pictures never are, they are packed already
            raise CarveError("member is compressed")
        return raw

    members = {}
    for index in range(count):
        offset, size, plain_size, name_at, name_size, _flags = struct.unpack_from(
            ">6I", data, 12 + 24 * index
        )
        name = data[name_at : name_at + name_size].rstrip(b"\0").decode()
        members[name] = lambda o=offset, s=size, p=plain_size: content(o, s, p)
    return members


def jpeg_end(data, start):
    """Give the offset just behind the JPEG at `start`, or None if it is cut off."""
    at = start + 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker == 0xFF:  # filling
            at += 1
            continue
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
        if marker == 0xDA:  # coded data follow: they end at the next real marker
            while True:
                at = data.find(b"\xff", at)
                if at < 0 or at + 1 >= len(data):
                    return None
                if data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7:
                    break
                at += 2
            if data[at + 1] == 0xD9:
                return at + 2
    return None


def preview(webp):
    """Give the longest JPEG inside the EXIF block of a WebP picture."""
    best = b""
    at = 12
    while at + 8 <= len(webp):
        kind, size = struct.unpack_from("<4sI", webp, at)
        if kind == b"EXIF":
            block = webp[at + 8 : at + 8 + size]
            start = block.find(b"\xff\xd8\xff")
            while start >= 0:
                end = jpeg_end(block, start)
                if end is not None and end - start > len(best):
                    best = block[start:end]
                start = block.find(b"\xff\xd8\xff", start + 2)
        at += 8 + size + size % 2
    if not best:
        raise CarveError("no preview")
    return best


def open_container(path):
    """Give the members of the container at `path`, by its name's ending."""
    readers = {".rcc": rcc_members, ".edj": eet_members}
    reader = readers.get(path[-4:])
    if reader is None:
        raise CarveError(f"no reader for {path}")
    with open(path, "rb") as file:
        data = file.read()
    try:
        return reader(data)
    except (struct.error, UnicodeDecodeError) as error:
        raise CarveError(f"{path} is damaged: {error}") from error


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: carve.py CONTAINER")
    for member, read in sorted(open_container(sys.argv[1]).items()):
        try:
            print(len(read()), member, sep="\t")
        except CarveError as reason:
            print("-", member, reason, sep="\t")
