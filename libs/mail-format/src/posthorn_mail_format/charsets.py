"""Bytes in a named charset to text, never failing.

Only text encodings of Python's own tables are looked up: a name from a message never reaches the import system, and
encodings that are programs or quadratic (idna, punycode, unicode_escape) are refused like unknown ones; so is UTF-7:
it hides text from whatever reads octets before us (the WHATWG encoding standard refuses it too).
"""

import re
from encodings.aliases import aliases
from functools import lru_cache

_REFUSED = frozenset(
    {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs", "oem"}
    | {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf_7"}
)
_EXTRA = (
    "cp720", "cp737", "cp856", "cp874", "cp875", "cp1006", "koi8_t", "koi8_u", "mac_arabic", "mac_croatian",
    "mac_farsi", "mac_romanian", "utf_8_sig",
)  # fmt: skip
_CODECS = {name: name for name in (set(aliases.values()) | set(_EXTRA)) - _REFUSED}
_CODECS |= {alias: name for alias, name in aliases.items() if name in _CODECS}
# Names seen in mail that Python does not know, and narrow names whose wide form is what senders mean (as in WHATWG's
# encoding labels: gb2312 text holds gbk characters, ks_c_5601 is cp949, iso-8859-1 holds cp1252's quotes).
_CODECS |= {
    "us_ascii": "ascii", "ansi_x3_4_1968": "ascii", "646": "ascii", "unknown_8bit": "ascii", "x_unknown": "ascii",
    "8bit": "ascii", "default": "ascii", "iso_8859_8_i": "iso8859_8", "iso_8859_8_e": "iso8859_8",
    "iso_8859_6_i": "iso8859_6", "iso_8859_9_i": "iso8859_9", "x_sjis": "cp932", "shift_jis": "cp932", "sjis": "cp932",
    "windows_31j": "cp932", "ks_c_5601_1987": "cp949", "ks_c_5601": "cp949", "euc_kr": "cp949", "gb2312": "gb18030",
    "gb_2312_80": "gb18030", "gbk": "gb18030", "x_gbk": "gb18030", "chinese": "gb18030", "big5": "big5hkscs",
    "x_big5": "big5hkscs", "windows_874": "cp874", "tis_620": "cp874", "x_mac_roman": "mac_roman",
    "macintosh": "mac_roman", "x_mac_cyrillic": "mac_cyrillic", "x_windows_949": "cp949", "x_euc_jp": "euc_jp",
    "iso_8859_1": "latin_1", "utf8": "utf_8", "utf_8": "utf_8", "utf8mb4": "utf_8",
    "cp_850": "cp850", "x_user_defined": "latin_1", "koi8_ru": "koi8_u", "koi": "koi8_r",
}  # fmt: skip
_MAX_NAME = 40
_NAME = re.compile(r"[A-Za-z0-9._:+()\- ]+")
_PUNCTUATION = re.compile(r"[^a-z0-9]+")
_GUESSED = ("ascii", "utf_8")


def codec_name(charset: str) -> str | None:
    """Return the Python codec for a MIME charset name, or None when it is unknown or refused."""
    charset = charset.strip().strip("\"'")
    return _known(charset) if len(charset) <= _MAX_NAME else None


@lru_cache(maxsize=256)
def _known(charset: str) -> str | None:
    if not _NAME.fullmatch(charset):
        return None
    name = _PUNCTUATION.sub("_", charset.lower()).strip("_")
    found = _CODECS.get(name)
    if found is None and name.startswith(("windows_", "ibm_", "dos_", "cp_")):
        found = _CODECS.get("cp" + name.rsplit("_", 1)[1])
    if found is None and name.startswith("x_"):
        found = _CODECS.get(name[2:])
    return found


def decode(data: bytes, charset: str | None) -> str:
    """Return `data` as text without NUL and without lone surrogates; what cannot be decoded becomes U+FFFD.

    An unknown, absent or ASCII charset means UTF-8 where the bytes are that, else Windows-1252.
    """
    codec = codec_name(charset) if charset else None
    if codec is None or codec in _GUESSED:
        text = _guess(data)
    elif codec == "latin_1":
        text = _western(data)
    else:
        try:
            text = data.decode(codec, "replace")
        except (UnicodeError, ValueError, LookupError):
            text = _guess(data)
    return clean(text)


def clean(text: str) -> str:
    """Return `text` with NUL and lone surrogates as U+FFFD, so that it can be stored and sent as UTF-8."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text


def _guess(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # A bounded text may end inside a character: after valid UTF-8 that alone does not make it another charset.
        if error.reason == "unexpected end of data" and not data[: error.start].isascii():
            return data.decode("utf-8", "replace")
        return _western(data)


def _western(data: bytes) -> str:
    if data.isascii():
        return data.decode("ascii")
    return data.decode("cp1252", "replace")
