"""``nsl_kdd``: network connections of 1998, normal ones and four families of attack, found in ``LABKIT_DATA/nsl-kdd``."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
import zlib
from pathlib import Path

import torch
from torch import Tensor

from labkit.data.bring import brought
from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role, Split
from labkit.data.errors import DataCorrupt
from labkit.data.images import stride
from labkit.data.records import Columns, Control, Field, Schema, one_of
from labkit.data.verify import Known
from labkit.files import data_dir

CLASSES = ("normal", "denial of service", "probe", "remote to local", "user to root")
FILES = {"train": "KDDTrain+.txt", "test": "KDDTest+.txt"}
PACKED = {"train": Known(2_047_387, "d068b02d701f636715656825c05e2eb1"), "test": Known(373_913, "74720272bd757893115c0393ca85f214")}
PLAIN = {"train": Known(19_109_424, "f5592a95d1d1428348dfa6ca9652a800"), "test": Known(3_441_513, "7c6d1b1af246690766394920d6b4c751")}
ORIGIN = "the Canadian Institute for Cybersecurity (NSL-KDD)"
_FAMILIES = (
    "normal",
    "back land neptune pod smurf teardrop apache2 udpstorm processtable mailbomb worm",
    "satan ipsweep nmap portsweep mscan saint",
    "guess_passwd ftp_write imap phf multihop warezmaster warezclient spy xlock xsnoop snmpguess snmpgetattack httptunnel sendmail named",
    "buffer_overflow loadmodule rootkit perl sqlattack xterm ps",
)
FAMILY = {name: number for number, names in enumerate(_FAMILIES) for name in names.split()}
_SYMBOLS = {
    "protocol_type": "icmp tcp udp",
    "service": "IRC X11 Z39_50 aol auth bgp courier csnet_ns ctf daytime discard domain domain_u echo eco_i ecr_i efs exec finger ftp "
    "ftp_data gopher harvest hostnames http http_2784 http_443 http_8001 imap4 iso_tsap klogin kshell ldap link login mtp name netbios_dgm "
    "netbios_ns netbios_ssn netstat nnsp nntp ntp_u other pm_dump pop_2 pop_3 printer private red_i remote_job rje shell smtp sql_net ssh "
    "sunrpc supdup systat telnet tftp_u tim_i time urh_i urp_i uucp uucp_path vmnet whois",
    "flag": "OTH REJ RSTO RSTOS0 RSTR S0 S1 S2 S3 SF SH",
}
SYMBOLS = {name: tuple(values.split()) for name, values in _SYMBOLS.items()}
_COUNTS = {  # column: largest value, what an attacker can do
    "duration": (60_000, "up"), "src_bytes": (1.4e9, "up"), "dst_bytes": (1.4e9, "fixed"), "wrong_fragment": (3, "fixed"),
    "urgent": (14, "fixed"), "hot": (101, "fixed"), "num_failed_logins": (5, "down"), "num_compromised": (7_500, "fixed"),
    "su_attempted": (2, "fixed"), "num_root": (7_500, "fixed"), "num_file_creations": (100, "fixed"), "num_shells": (5, "fixed"),
    "num_access_files": (9, "fixed"), "num_outbound_cmds": (1, "fixed"), "count": (511, "down"), "srv_count": (511, "down"),
    "dst_host_count": (255, "down"), "dst_host_srv_count": (255, "down"),
}  # fmt: skip
_FLAGS = ("land", "logged_in", "root_shell", "is_host_login", "is_guest_login")
_COLUMNS = (
    "duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot num_failed_logins logged_in num_compromised "
    "root_shell su_attempted num_root num_file_creations num_shells num_access_files num_outbound_cmds is_host_login is_guest_login count "
    "srv_count serror_rate srv_serror_rate rerror_rate srv_rerror_rate same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count "
    "dst_host_srv_count dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate dst_host_srv_diff_host_rate "
    "dst_host_serror_rate dst_host_srv_serror_rate dst_host_rerror_rate dst_host_srv_rerror_rate"
)
COLUMNS = tuple(_COLUMNS.split())


def _fields() -> tuple[Field, ...]:
    fields: list[Field] = []
    for name in COLUMNS:
        if name in SYMBOLS:
            fields += [Field(f"{name}={value}", "", 0, 1, "flag") for value in SYMBOLS[name]]
        elif name in _COUNTS:
            high, control = _COUNTS[name]
            able: Control = "up" if control == "up" else "down" if control == "down" else "fixed"
            fields.append(Field(name, "", 0, high, "integer", "log", able))
        else:
            fields.append(Field(name, "", 0, 1, "flag" if name in _FLAGS else "real"))
    return tuple(fields)


def _follow(columns: Columns) -> Columns:
    """Exactly one protocol, one service, one flag."""
    columns = dict(columns)
    for name, values in SYMBOLS.items():
        columns |= one_of(columns, [f"{name}={value}" for value in values])
    return columns


#: What an attacker can do: stay longer, send more, guess and connect less often. The rates are shares and stay as they are.
SCHEMA = Schema(_fields(), _follow)


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 122) records in [0, 1], counts on a logarithmic scale, symbols as flags; ``SCHEMA`` decodes them.

    ``size`` keeps at most that many of each split, at a constant stride; ``seed`` changes nothing. Raises DataMissing, DataTruncated
    or DataCorrupt, ValueError for size < 1.
    """
    if smoke:
        from labkit.data.fake import write_nsl_kdd

        with tempfile.TemporaryDirectory() as folder:
            paths = write_nsl_kdd(Path(folder))
            rows = {role: read(path) for role, path in paths.items()}
    else:
        rows = {}
        for role, name in FILES.items():
            plain = (data_dir() / "nsl-kdd" / name).is_file()
            path = f"nsl-kdd/{name}" if plain else f"nsl-kdd/{name}.gz"
            rows[role] = read(brought("nsl_kdd", path, (PLAIN if plain else PACKED)[role], ORIGIN))
    card = CARDS["nsl_kdd"]

    def split(role: Role) -> Split:
        chosen = rows[role]
        index = stride(len(chosen), size)
        x, y = encode([chosen[i] for i in index.tolist()])
        return Split(x, y, role, f"nsl_kdd {role}", torch.from_numpy(index))

    return Dataset("nsl_kdd", split("train"), split("test"), CLASSES, licence=card.licence, citation=card.citation,
                   description=card.description, features=SCHEMA.names)  # fmt: skip


def read(path: Path) -> list[list[str]]:
    """Return the lines of a packed or plain file, 43 cells each. Raises DataCorrupt for another table."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("ascii")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataCorrupt(f"{path} is no table of text ({error})") from error
    rows = list(csv.reader(io.StringIO(text, newline="")))
    for number, row in enumerate(rows, 1):
        if len(row) != len(COLUMNS) + 2 or row[-2] not in FAMILY:
            raise DataCorrupt(f"{path}, line {number}: expected {len(COLUMNS) + 2} cells and a known attack type, got {row[-2:]}")
    return rows


def encode(rows: list[list[str]]) -> tuple[Tensor, Tensor]:
    """Return records (N, 122) and families (N,) of lines. Raises DataCorrupt for a symbol that is not known."""
    columns: Columns = {}
    for place, name in enumerate(COLUMNS):
        cells = [row[place] for row in rows]
        if name not in SYMBOLS:
            columns[name] = torch.tensor([float(cell) for cell in cells], dtype=torch.float64)
            continue
        if strange := set(cells) - set(SYMBOLS[name]):
            raise DataCorrupt(f"{name} has the unknown value {sorted(strange)[0]!r}")
        for value in SYMBOLS[name]:
            columns[f"{name}={value}"] = torch.tensor([float(cell == value) for cell in cells], dtype=torch.float64)
    return SCHEMA.encode(columns), torch.tensor([FAMILY[row[-2]] for row in rows])


__all__ = ["CLASSES", "COLUMNS", "FAMILY", "SCHEMA", "SYMBOLS", "encode", "load", "read"]
