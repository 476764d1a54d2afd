"""What the address of a picture or a file tells of it. Whoever calls has written it: it may be no address at all."""

from __future__ import annotations

import mimetypes
from urllib.parse import urlsplit


def path_of(url: str) -> str:
    """The address's path, "" where there is none."""
    try:
        return urlsplit(url).path
    except ValueError:  # e.g. http://[::1
        return ""


def media_type_of(url: str) -> str:
    """The media type that the ending of the address's path stands for, "" where it stands for none."""
    return mimetypes.guess_type(path_of(url))[0] or ""
