"""Whatever photo a person has is read as it looks, or refused in a clause that says what it is."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from stages.data import photos
from stages.data.errors import UserError
from stages.data.photos import MOST_PIXELS, PHOTO_SUFFIXES, read_photo, size_of

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
# Smooth, so that what JPEG loses and how a photo is made smaller changes little.
RAMP = np.stack(
    [*np.meshgrid(np.linspace(0, 255, 400), np.linspace(0, 255, 300)), np.full((300, 400), 99)], -1
).astype(np.uint8)


def content(image: Image.Image | np.ndarray, format_name: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    photo = image if isinstance(image, Image.Image) else Image.fromarray(image)
    photo.save(file, format_name, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(width: int, height: int, bits: int, rows: bytes, color_type: int = 2) -> bytes:
    """A PNG file as its specification has it, also of what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    compressed = chunk(b"IDAT", zlib.compress(rows))
    return signature + chunk(b"IHDR", header) + compressed + chunk(b"IEND", b"")


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_photo_that_has_the_size_already_is_not_changed(format_name: str) -> None:
    np.testing.assert_array_equal(read_photo(content(COLORS, format_name), 32), COLORS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF"])
def test_a_photo_is_turned_as_the_camera_was_held(format_name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"quality": 100, "subsampling": 0} if format_name == "JPEG" else {}
    turned = read_photo(content(RAMP, format_name, exif=exif, **lossless), 32)
    # As the EXIF standard has it: where the first row and the first column of the file are.
    upright = {
        1: RAMP,
        2: RAMP[:, ::-1],
        3: RAMP[::-1, ::-1],
        4: RAMP[::-1],
        5: RAMP.transpose(1, 0, 2),
        6: np.rot90(RAMP, -1),
        7: np.rot90(RAMP, 2).transpose(1, 0, 2),
        8: np.rot90(RAMP, 1),
    }[orientation]
    expected = read_photo(content(np.ascontiguousarray(upright)), 32).astype(int)
    assert np.abs(turned - expected).max() <= 3


def test_what_is_transparent_is_white_and_what_is_half_so_is_half() -> None:
    alpha = np.zeros((32, 32), np.uint8)
    alpha[:16], alpha[16:24] = 255, 128
    seen = read_photo(content(np.dstack([np.full_like(COLORS, 100), alpha])), 32)
    assert set(seen[:16].ravel()) == {100}
    assert set(seen[16:24].ravel()) == {177}  # 100 and 255 in equal parts
    assert set(seen[24:].ravel()) == {255}
    gray = read_photo(content(np.dstack([np.full((32, 32), 100, np.uint8), alpha])), 32)
    np.testing.assert_array_equal(gray, seen)


def test_an_opaque_photo_with_an_alpha_channel_keeps_its_colors() -> None:
    opaque = np.dstack([COLORS, np.full((32, 32), 255, np.uint8)])
    np.testing.assert_array_equal(read_photo(content(opaque), 32), COLORS)


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
def test_a_palette_is_colors_and_its_transparent_one_is_white(format_name: str) -> None:
    paletted = Image.new("P", (32, 32), 0)
    paletted.putpalette([10, 20, 30, 200, 100, 50])
    paletted.paste(1, (0, 0, 16, 32))
    seen = read_photo(content(paletted, format_name), 32)
    assert seen[0, 0].tolist() == [200, 100, 50]
    assert seen[0, 31].tolist() == [10, 20, 30]
    seen = read_photo(content(paletted, format_name, transparency=0), 32)
    assert seen[0, 0].tolist() == [200, 100, 50]
    assert seen[0, 31].tolist() == [255, 255, 255]


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_16_bits_of_gray_are_scaled_and_not_cut_off(format_name: str) -> None:
    wide = np.linspace(0, 65535, 1024).round().astype(np.uint16).reshape(32, 32)
    seen = read_photo(content(wide, format_name), 32)
    np.testing.assert_array_equal(seen, np.dstack([(wide >> 8).astype(np.uint8)] * 3))
    dark = read_photo(content(wide // 256, format_name), 32)  # no brighter than it is
    assert dark.max() == 0


def test_16_bits_of_color_are_scaled_and_not_cut_off() -> None:
    wide = RNG.integers(0, 65536, (32, 32, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    np.testing.assert_array_equal(read_photo(png(32, 32, 16, rows), 32), wide >> 8)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.linspace(0, 1, 1024, dtype=np.float32), 255),
        (np.linspace(0, 255, 1024, dtype=np.float32), 255),
        (np.linspace(0, 65535, 1024, dtype=np.float32), 255),
        (np.linspace(0, 200, 1024).astype(np.int32), 200),
        (np.linspace(0, 65535, 1024).astype(np.int32), 255),
    ],
)
def test_numbers_of_a_tiff_are_brightness_in_the_range_that_they_fit(
    values: np.ndarray, expected: int
) -> None:
    seen = read_photo(content(values.reshape(32, 32), "TIFF"), 32)
    assert (seen[0, 0, 0], seen[-1, -1, 0]) == (0, expected)
    assert (np.diff(seen[..., 0].ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -1, 1e9])
def test_a_tiff_whose_numbers_are_no_brightness_is_refused(value: float) -> None:
    values = np.full((32, 32), 0.5, np.float32)
    values[3, 3] = value
    with pytest.raises(UserError, match=r"^has pixels from .*; allowed: floats from 0 to 1, whole"):
        read_photo(content(values, "TIFF"), 32)


@pytest.mark.parametrize(
    ("mode", "format_name", "color", "expected"),
    [
        ("CMYK", "JPEG", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", "TIFF", (255, 0, 0, 0), (0, 255, 255)),
        ("L", "JPEG", 77, (77, 77, 77)),
        ("1", "PNG", 1, (255, 255, 255)),
        ("YCbCr", "TIFF", (76, 85, 255), (255, 0, 0)),
    ],
)
def test_other_kinds_of_color_look_as_they_do_elsewhere(
    mode: str, format_name: str, color: Any, expected: tuple[int, ...]
) -> None:
    seen = read_photo(content(Image.new(mode, (40, 30), color), format_name), 32)
    assert np.abs(seen.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_picture_is_seen(format_name: str) -> None:
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "lime", "blue")]
    seen = read_photo(
        content(frames[0], format_name, save_all=True, append_images=frames[1:]), 32
    ).astype(int)
    assert np.abs(seen - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("format_name", ["AVIF", "WEBP", "JPEG2000"])
def test_newer_formats_are_read(format_name: str) -> None:
    if not features.check({"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}[format_name]):
        pytest.skip(f"this Pillow has no {format_name}")
    seen = read_photo(content(RAMP, format_name), 32).astype(int)
    assert np.abs(seen - read_photo(content(RAMP), 32)).max() <= 8


def test_heic_is_read_if_its_plugin_is_there_and_else_the_plugin_is_named() -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100
    if not hasattr(photos, "pillow_heif"):
        with pytest.raises(UserError, match=r"^is HEIC, which the package pillow-heif reads"):
            read_photo(heic, 32)
        return
    seen = read_photo(content(RAMP, "HEIF"), 32).astype(int)
    assert np.abs(seen - read_photo(content(RAMP), 32)).max() <= 8


def test_in_folders_suffixes_of_photos_count_and_not_all_that_pillow_registers() -> None:
    heif = {".heic", ".heif", ".hif", ".avif"}  # whatever this Pillow reads
    assert heif <= PHOTO_SUFFIXES
    assert Image.registered_extensions().keys() >= PHOTO_SUFFIXES - heif
    others = {".pdf", ".eps", ".ps", ".h5", ".hdf", ".mpg", ".mpeg", ".fits", ".grib", ".wmf"}
    assert not PHOTO_SUFFIXES & others


@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
@pytest.mark.parametrize("side", [32, 160])
def test_a_large_photo_looks_as_if_no_short_cut_was_taken(format_name: str, side: int) -> None:
    y, x = np.mgrid[:1500, :2000]
    pattern = 127 + 80 * np.sin(x / 90) * np.cos(y / 70) + 40 * np.sin(x / 7)
    large = np.dstack([pattern, pattern[::-1], pattern[:, ::-1]]).clip(0, 255).astype(np.uint8)
    seen = read_photo(content(large, format_name), side).astype(int)
    exact = Image.fromarray(large).resize((side, side), Image.Resampling.BICUBIC)
    assert np.abs(seen - np.asarray(exact)).max() <= 12
    assert np.abs(seen - np.asarray(exact)).mean() <= 1.5


JPEG_FILE, PNG_FILE = content(RAMP, "JPEG"), content(RAMP)
NO_PHOTOS = {
    "empty": (b"", "^is empty$"),
    "text": (b"hello, I am no photo\n", "^is no photo of a format that is known; allowed: JPEG"),
    "SVG": (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "^is SVG, a drawing and no photo"),
    "JPEG, cut off": (JPEG_FILE[: len(JPEG_FILE) // 2], r"^is truncated or damaged \("),
    "PNG, cut off": (PNG_FILE[: len(PNG_FILE) // 2], r"^is truncated or damaged \("),
    "PNG, its header alone": (PNG_FILE[:30], "^is (truncated or damaged|no photo)"),
    "PNG of no pixels": (png(0, 0, 8, b""), "^(has no pixels|is truncated or damaged|is no photo)"),
    "PostScript": (content(COLORS, "EPS"), "^is EPS, a program, which is not run"),
    "a bomb": (png(20_000, 20_000, 8, b""), f"^has more than .* allowed: up to {MOST_PIXELS:,}$"),
    "half a bomb": (png(12_000, 10_000, 8, b""), "^has 12,000 x 10,000 pixels; allowed: up to"),
}


@pytest.mark.parametrize(("given", "clause"), NO_PHOTOS.values(), ids=NO_PHOTOS.keys())
def test_what_is_no_photo_is_refused_in_a_clause_without_being_decoded(
    given: bytes, clause: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=clause) as told:
        read_photo(given, 32)
    assert "\n" not in str(told.value)
    assert "0x" not in str(told.value)  # addresses in memory
    if "bomb" in clause or "pixels" in clause or "empty" in clause:
        (tmp_path / "photo").write_bytes(given)
        with pytest.raises(UserError, match=clause):
            size_of(tmp_path / "photo")


def test_each_file_that_is_altered_is_read_or_refused_and_nothing_else() -> None:
    for original in (JPEG_FILE, PNG_FILE, content(RAMP, "GIF"), content(RAMP, "TIFF")):
        for _ in range(60):
            altered = bytearray(original)
            for position in RNG.integers(0, min(len(altered), 2000), 8):
                altered[position] = RNG.integers(0, 256)
            try:
                assert read_photo(bytes(altered), 32).shape == (32, 32, 3)
            except UserError:
                continue  # any other error fails the test


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_a_transparent_photo_looks_the_same_in_strips_as_whole(
    format_name: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    alpha = RNG.integers(0, 256, (300, 400, 1), dtype=np.uint8)
    see_through = Image.fromarray(np.dstack([RAMP, alpha]))
    file = content(see_through, format_name, exif=exif)
    whole = read_photo(file, 32)
    monkeypatch.setattr(photos, "STRIP", 1_300)
    np.testing.assert_array_equal(read_photo(file, 32), whole)
    white = Image.alpha_composite(Image.new("RGBA", (400, 300), "white"), see_through).convert(
        "RGB"
    )
    np.testing.assert_array_equal(read_photo(content(white, format_name, exif=exif), 32), whole)


def tiff_of_one_tile(width: int, length: int) -> bytes:
    """A gray TIFF of 32 x 32 pixels, for which a whole tile is decoded."""
    rows = zlib.compress(bytes(width * 64))
    tags = {256: 32, 257: 32, 258: 8, 259: 8, 262: 1, 277: 1, 322: width, 323: length}
    tags |= {324: 8 + 2 + 12 * 10 + 4, 325: len(rows)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + rows


def test_what_a_small_file_can_keep_a_computer_busy_with_is_refused() -> None:
    progressive = content(RAMP, "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    scans = progressive[:last] + progressive[last:-2] * 200 + progressive[-2:]
    assert len(scans) < 1_000_000
    with pytest.raises(UserError, match=r"^has more than 100 scans; allowed: up to 100$"):
        read_photo(scans, 32)
    assert read_photo(progressive, 32).shape == (32, 32, 3)
    with pytest.raises(UserError, match=r"^has a tile of 32,768 x 48,000 pixels; allowed: up to"):
        read_photo(tiff_of_one_tile(32_768, 48_000), 32)
    assert read_photo(tiff_of_one_tile(128, 64), 32).shape == (32, 32, 3)


def test_who_allows_less_than_all_that_is_read_gets_less() -> None:
    file = content(RAMP)
    assert read_photo(file, 32, 120_000, ["PNG"]).shape == (32, 32, 3)
    with pytest.raises(UserError, match=r"^has 400 x 300 pixels; allowed: up to 119,999 in all$"):
        read_photo(file, 32, most_pixels=119_999)
    with pytest.raises(
        UserError, match=r"^is no photo of a format that is known; allowed: GIF, BMP$"
    ):
        read_photo(file, 32, formats=["GIF", "BMP"])
    assert {"JPEG", "PNG", "WEBP"} <= set(photos.PHOTO_FORMATS) <= Image.OPEN.keys()
