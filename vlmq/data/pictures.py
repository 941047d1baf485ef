"""Picture files: reading them as RGB arrays without trusting them, and writing PNG."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vlmq.data.damage import Damage, Kind
from vlmq.data.schema import MAX_PIXELS

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_FILE_BYTES = 64 * 2**20

_PLAIN_MODES = {"1", "L", "P", "RGB", "CMYK", "YCbCr"}
_ALPHA_MODES = {"LA", "PA", "RGBA", "La", "RGBa"}


def load_picture(folder: Path, name: str, where: str) -> NDArray[np.uint8]:
    """The picture `name`, a path relative to `folder`, as uint8 (H, W, 3).

    A camera's orientation mark is obeyed and transparency is laid on white. Raises DataError, beginning with
    `where`, for a path that leaves the folder and for a file that is missing, too large or not a picture.
    """
    file = _inside(folder, name, where)
    if file.exists() and not file.is_file():
        raise Damage(
            Kind.PICTURE, f"{where}: {name!r} is no picture file; give the path of a PNG, JPEG or WebP file"
        )
    try:
        size = file.stat().st_size
        content = file.read_bytes() if size <= MAX_FILE_BYTES else b""
    except OSError as error:
        raise Damage(
            Kind.MISSING_PICTURE,
            f"{where}: the picture {name!r} cannot be read ({error.strerror}); its path is relative to {folder}",
        ) from error
    return decode_picture(content, f"the picture {name!r}", where, size)


def decode_picture(content: bytes, name: str, where: str, size: int | None = None) -> NDArray[np.uint8]:
    """The bytes of a picture file as uint8 (H, W, 3), trusted as little as a file is.

    Args:
        content: PNG, JPEG or WebP.
        name: what to call the picture in a message.
        where: what a message begins with.
        size: bytes of the file, where `content` was not read because there are too many.

    Raises:
        DataError: it is too large or not a picture.
    """
    size = len(content) if size is None else size
    if size > MAX_FILE_BYTES:
        raise Damage(
            Kind.BOMB, f"{where}: {name} has {size} bytes, the most is {MAX_FILE_BYTES}; save it smaller"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures; ours is the stricter limit
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Damage(
                        Kind.BOMB,
                        f"{where}: {name} is {image.width} x {image.height}, the most is {MAX_PIXELS} pixels;"
                        " save it smaller",
                    )
                return _to_rgb(image, name, where)
    except Image.DecompressionBombError as error:
        raise Damage(
            Kind.BOMB, f"{where}: {name} cannot be decoded ({error}); save it as PNG, JPEG or WebP"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise Damage(
            Kind.PICTURE, f"{where}: {name} cannot be decoded ({error}); save it as PNG, JPEG or WebP"
        ) from error


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """A picture of shape (H, W, 3) as a PNG file, which loses nothing."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def save_png(file: Path, image: NDArray[np.uint8]) -> None:
    """Write a picture so that it appears under its name only when whole; the folder is made if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.new")
    Image.fromarray(np.ascontiguousarray(image)).save(temporary, format="PNG")
    temporary.replace(file)


def _inside(folder: Path, name: str, where: str) -> Path:
    root = folder.resolve()
    try:
        file = (root / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise Damage(
            Kind.TRAVERSAL, f"{where}: {name!r} is no path ({error}); give one relative to {folder}"
        ) from error
    if Path(name).is_absolute() or not file.is_relative_to(root):
        raise Damage(
            Kind.TRAVERSAL, f"{where}: {name!r} leads out of {folder}; put the picture beside the file"
        )
    return file


def _to_rgb(image: Image.Image, name: str, where: str) -> NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _ALPHA_MODES or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    elif upright.mode not in _PLAIN_MODES:
        raise Damage(Kind.PICTURE, f"{where}: {name} has pixels of kind {upright.mode}; save it as 8-bit RGB")
    return np.array(upright.convert("RGB"), np.uint8)
