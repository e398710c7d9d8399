"""Refuse the network: every address but loopback, every name look-up. With it, tests prove that the course runs offline.

``LABKIT_OFFLINE=1`` with this package's ``offline`` folder first on ``PYTHONPATH`` (see `environment`) refuses it in every
Python process that inherits the environment: kernels, joblib's workers, subprocesses. Each refusal is also appended to
the file that ``LABKIT_OFFLINE_LOG`` names, so that code which swallows the error is caught as well. Programs that are not
Python obey the proxy variables, which point at a closed port; a Python process started with ``-I`` or ``-E`` escapes.

Standard library only, and no import of labkit: `sitecustomize` loads this file by its path, before anything else.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CLOSED_PROXY = 9  # "discard": nothing listens there; what asks for this proxy wants to go out
GUARD = Path(__file__).resolve().parent / "offline"
_LOCAL_NAMES = frozenset({"localhost", "localhost.", "localhost.localdomain", "ip6-localhost"})


class NetworkRefused(OSError):
    """Something reached for the network while LABKIT_OFFLINE is set."""


class LookupRefused(NetworkRefused, socket.gaierror):
    """Something looked up a name while LABKIT_OFFLINE is set."""


def environment(base: dict[str, str] | None = None, log: Path | None = None) -> dict[str, str]:
    """Return a process environment in which Python refuses the network; ``log``: the file that gathers refusals."""
    result = dict(os.environ if base is None else base)
    paths = [path for path in result.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(GUARD)]
    result["PYTHONPATH"] = os.pathsep.join([str(GUARD), *paths])
    result["LABKIT_OFFLINE"] = "1"
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        result[name] = result[name.upper()] = f"http://127.0.0.1:{_CLOSED_PROXY}"
    result["no_proxy"] = result["NO_PROXY"] = "localhost,127.0.0.1"
    if log is not None:
        result["LABKIT_OFFLINE_LOG"] = str(log)
    return result


def is_local(host: Any) -> bool:
    """Return whether ``host`` is this machine's loopback: an address of 127.0.0.0/8 or ::1, "localhost", or unspecified."""
    if host is None or host in ("", b""):
        return True
    name = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host)
    if name.lower() in _LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_loopback or address.is_unspecified


def _is_address(host: Any) -> bool:
    try:
        ipaddress.ip_address((host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)).partition("%")[0])
    except ValueError:
        return False
    return True


def _check_address(sock: socket.socket, address: Any, what: str) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):  # Unix sockets and the like never leave the machine
        return
    host = address[0] if isinstance(address, tuple) and address else address
    if isinstance(address, tuple) and address[1:2] == (_CLOSED_PROXY,):
        raise _refusal(NetworkRefused, f"{what} to the network, by way of the proxy that stands for it,")
    if not is_local(host):
        raise _refusal(NetworkRefused, f"{what} to {address!r}")


def _refusal(kind: type[OSError], what: str) -> OSError:
    """Note a refusal with its caller, and return the error to raise."""
    message = f"{what} refused: LABKIT_OFFLINE is set, and the course must run without a network"
    log = os.environ.get("LABKIT_OFFLINE_LOG")
    if log:
        library = os.path.dirname(socket.__file__)  # its urllib is not the one to blame
        frames = [frame for frame in traceback.extract_stack() if frame.filename != __file__]
        ours = [frame for frame in frames if not frame.filename.startswith((library, "<frozen"))] or frames
        caller = f"{ours[-1].filename}:{ours[-1].lineno}" if ours else "?"
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{what} from {caller} in {sys.argv[0] if getattr(sys, 'argv', None) else '?'}\n")
    return kind(message)


def refuse() -> Callable[[], None]:
    """Refuse the network in this process from now on; return a function that allows it again. Calling it twice is harmless."""
    if getattr(socket, "_labkit_refused", False):
        return lambda: None
    kept: list[tuple[Any, str, Any, bool]] = []

    def patch(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        if hasattr(owner, name):
            original = getattr(owner, name)
            kept.append((owner, name, original, name in vars(owner)))
            setattr(owner, name, make(original))

    def guarded(what: str, position: int) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def call(self: socket.socket, *arguments: Any) -> Any:
                if len(arguments) > position or position == -1:
                    _check_address(self, arguments[position], what)
                return original(self, *arguments)

            return call

        return make

    def lookup(what: str, reverse: bool = False) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def call(host: Any = None, *arguments: Any, **options: Any) -> Any:
                name = host[0] if isinstance(host, tuple) else host  # getnameinfo takes an address
                # An address in digits is not looked up, unless its name is wanted; connecting to it is refused later.
                if not is_local(name) and (reverse or not _is_address(name)):
                    raise _refusal(LookupRefused, f"{what} of {name!r}")
                return original(host, *arguments, **options)

            return call

        return make

    for method in ("connect", "connect_ex"):
        patch(socket.socket, method, guarded("connection", 0))
    patch(socket.socket, "sendto", guarded("datagram", -1))
    patch(socket.socket, "sendmsg", guarded("datagram", 3))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        patch(socket, name, lookup("look-up"))
    for name in ("gethostbyaddr", "getnameinfo"):
        patch(socket, name, lookup("look-up", reverse=True))
    socket._labkit_refused = True  # type: ignore[attr-defined]

    def allow() -> None:
        for owner, name, original, own in reversed(kept):
            if own:
                setattr(owner, name, original)
            else:
                delattr(owner, name)
        socket._labkit_refused = False  # type: ignore[attr-defined]

    return allow
