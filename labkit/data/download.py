"""Downloads, on request only: resumable, verified by checksum, in one step; retries are bounded."""

from __future__ import annotations

import errno
import http.client
import logging
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.data.errors import DownloadFailed
from labkit.data.verify import Known, digest_of
from labkit.files import lock

_log = logging.getLogger(__name__)
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Patience:
    """How long a download keeps trying: seconds without a byte, attempts that bring nothing new, attempts in all."""

    timeout: float = 30.0
    fruitless: int = 4
    attempts: int = 40
    pause: float = 1.0


def fetch(
    urls: Sequence[str], path: Path, known: Known, *, patience: Patience | None = None, advance: Callable[[int], None] | None = None
) -> bool:
    """Download one file to ``path`` from the first mirror that serves it right; False when a good one is there already.

    What has arrived stays in ``path.part`` and is continued later (HTTP Range), in this call or the next. ``path`` appears
    only when its MD5 is right. ``advance`` is called with the bytes gained (negative when a wrong beginning is thrown away).
    Raises DownloadFailed naming every mirror's last error, or OSError when the disk is full or the folder read-only.
    """
    patience, advance = patience or Patience(), advance or (lambda _count: None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with lock(path):
            if path.is_file() and digest_of(path, "md5") == known.md5:
                return False
            _fill(urls, part, known, patience, advance)
            os.replace(part, path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(path.parent).free / 1e6
            text = f"the disk is full ({free:.0f} MB free) while downloading {path}; what has arrived is kept and will be continued"
            raise OSError(errno.ENOSPC, text) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise PermissionError(
                error.errno, f"{path.parent} cannot be written: set LABKIT_DATA to a folder of your own, then download again"
            ) from error
        raise
    return True


def _fill(urls: Sequence[str], part: Path, known: Known, patience: Patience, advance: Callable[[int], None]) -> None:
    """Bring ``part`` to the whole, verified content, changing the mirror after each failure."""
    reasons: dict[str, str] = {}
    fruitless, mirrors = 0, list(urls)
    advance(_length(part))
    for attempt in range(patience.attempts):
        if not mirrors or fruitless >= patience.fruitless:
            break
        url, before = mirrors[attempt % len(mirrors)], _length(part)
        try:
            _continue(url, part, known, patience.timeout, advance)
        except urllib.error.HTTPError as error:
            reasons[url] = f"HTTP {error.code} {error.reason}"
            if error.code in (400, 401, 403, 404, 410):
                mirrors.remove(url)  # asking again will not help
                continue
        except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, TimeoutError, ConnectionError) as error:
            reasons[url] = str(getattr(error, "reason", error)) or type(error).__name__
        else:
            observed = digest_of(part, "md5")
            if observed == known.md5:
                return
            reasons[url] = f"wrong content: {_length(part):,} bytes with md5 {observed}, expected {known.md5}"
            advance(-_length(part))
            part.unlink()
        fruitless = 0 if _length(part) > before else fruitless + 1
        _log.info("attempt %d at %s: %s", attempt + 1, url, reasons[url])
        time.sleep(patience.pause * min(fruitless, 4))
    kept = f"; {_length(part):,} bytes are kept in {part} and will be continued" if _length(part) else ""
    told = "; ".join(f"{url}: {reason}" for url, reason in reasons.items())
    raise DownloadFailed(f"could not download {part.name.removesuffix('.part')}: {told or 'no mirror is known'}{kept}")


def _continue(url: str, part: Path, known: Known, timeout: float, advance: Callable[[int], None]) -> None:
    """Append what ``part`` lacks; start anew where the server cannot continue. Raises ConnectionError when it ends early."""
    have = _length(part)
    headers = {"User-Agent": "labkit", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing lies beyond what is here: the checksum decides
            return
        raise
    with answer:
        if have and (answer.status != 206 or not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")):
            if answer.status == 206:
                raise ConnectionError(f"asked for byte {have}, got {answer.headers.get('Content-Range')}")
            advance(-have)  # the server ignored the range and sends everything
            have = 0
        length = answer.headers.get("Content-Length")
        whole = have + int(length) if length is not None else None
        # A server that never stops must not fill the disk.
        most = max(2 * known.size, 1 << 20)
        with open(part, "ab" if have else "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                advance(len(block))
                have += len(block)
                if have > most:
                    break
            file.flush()
            os.fsync(file.fileno())
    if whole is not None and have < whole:
        raise ConnectionError(f"the connection ended after {have:,} of {whole:,} bytes")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def bar(total: int, text: str) -> Any:
    """Return a tqdm bar in bytes."""
    from tqdm import tqdm

    return tqdm(total=total, desc=text, unit="B", unit_scale=True, unit_divisor=1000, mininterval=0.5)
