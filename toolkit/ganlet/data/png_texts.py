"""The chunks of a PNG that hold text, metadata and a colour profile."""

import io
import zlib
from typing import IO

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
# No pixel depends on these chunks. Pillow refuses a picture whose text or profile unpacks to more than 1 MiB.
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def without_texts(content: bytes) -> bytes | None:
    """A PNG without its chunks of text and its colour profile; None of what is no PNG."""
    if not content.startswith(PNG_HEAD):
        return None
    kept, at = [PNG_HEAD], len(PNG_HEAD)
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] not in PNG_TEXTS or _is_short_exif(content[at + 8 : end - 4]):
            kept.append(content[at:end])
        at = end
    return b"".join(kept)


def has_exif(stream: IO[bytes]) -> bool:
    """Whether a PNG has a chunk that may say which way up it is; its other chunks are skipped unread."""
    stream.seek(len(PNG_HEAD))
    while len(head := stream.read(8)) == 8:
        if head[4:] == b"eXIf":
            return True
        body = stream.read(32) if head[4:] in PNG_TEXTS else b""
        if body.startswith((b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")):
            return True
        stream.seek(int.from_bytes(head[:4], "big") + 4 - len(body), io.SEEK_CUR)
    return False


def _is_short_exif(body: bytes) -> bool:
    """Whether a chunk of text tells which way up the picture is, in a length that Pillow takes."""
    keyword, _, rest = body.partition(b"\0")
    if keyword == b"XML:com.adobe.xmp":
        return len(body) < 2**16 and rest[:1] == b"\0"
    if keyword != b"Raw profile type exif":
        return False
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(rest[1:], 2**20)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail
