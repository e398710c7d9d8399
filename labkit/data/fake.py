"""Tiny made-up data sets in the real files' layouts, for the ``smoke`` profile and for tests: 64 samples a split.

Each class is a bright spot at its own place plus noise, so that training on them runs; numbers from them mean nothing.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import struct
import tarfile
import wave
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labkit.data.verify import Known
from labkit.seeding import numpy_generator

SAMPLES = 64


def samples(split: str, shape: tuple[int, ...], classes: int, n: int = SAMPLES) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return ``n`` made-up images (n, *shape) and labels (n,), which run through the classes; both uint8."""
    y = (np.arange(n) % classes).astype(np.uint8)
    x = numpy_generator(0, "fake", split).integers(0, 64, (n, *shape), dtype=np.uint8)
    for image, label in zip(x, y.tolist(), strict=True):
        row, column = (int(shape[0] * (0.5 + 0.32 * turn(2 * math.pi * label / classes))) for turn in (math.sin, math.cos))
        image[row - 2 : row + 3, column - 2 : column + 3] = 230
    return x, y


def _known(folder: Path, names: list[str]) -> dict[str, Known]:
    contents = {name: (folder / name).read_bytes() for name in names}
    return {name: Known(len(content), hashlib.md5(content).hexdigest()) for name, content in contents.items()}


def write_idx(folder: Path) -> dict[str, Known]:
    """Write the four files of MNIST's layout into ``folder`` (``.../MNIST/raw``) and return their sizes and checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for split, stem in (("train", "train"), ("test", "t10k")):
        x, y = samples(split, (28, 28), 10)
        for array, kind in ((x, "images"), (y, "labels")):
            header = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            names.append(f"{stem}-{kind}-idx{array.ndim}-ubyte.gz")
            (folder / names[-1]).write_bytes(gzip.compress(header + array.tobytes(), 1, mtime=0))
    return _known(folder, names)


def python2_batch(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> bytes:
    """Return a batch as Python 2 pickled it (protocol 2, strings of bytes): a dictionary of labels and an array of planes."""
    planes = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    rows, columns = (b"J" + struct.pack("<i", size) for size in planes.shape)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = b"T" + struct.pack("<i", planes.size) + planes.tobytes()
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in y.tolist()) + b"e"
    state = b"(K\x01" + rows + columns + b"\x86" + dtype + b"\x89" + content + b"tb"
    return b"\x80\x02}(U\x06labels" + labels + b"U\x04data" + array + state + b"u."


def write_batches(folder: Path) -> dict[str, Known]:
    """Write the six python batches of CIFAR-10's layout (64 training images over five files) and return what is known of them."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = samples("train", (32, 32, 3), 10)
    names = [f"data_batch_{k}" for k in range(1, 6)]
    for name, images, labels in zip(names, np.array_split(x, 5), np.array_split(y, 5), strict=True):
        (folder / name).write_bytes(python2_batch(images, labels))
    (folder / "test_batch").write_bytes(python2_batch(*samples("test", (32, 32, 3), 10)))
    return _known(folder, [*names, "test_batch"])


def write_gtsrb_archives(folder: Path) -> dict[str, Known]:
    """Write the three zip archives of GTSRB's official layout, pictures of various sizes, and return what is known of them."""
    folder.mkdir(parents=True, exist_ok=True)
    train_zip, test_zip, truth_zip = "GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"
    with zipfile.ZipFile(folder / train_zip, "w") as archive:
        for i, (image, label) in enumerate(zip(*samples("train", (40, 44, 3), 43), strict=True)):
            archive.writestr(f"GTSRB/Training/{label:05}/{i:05}_00000.ppm", _ppm(image))
    table = io.StringIO()
    rows = csv.writer(table, delimiter=";", lineterminator="\r\n")
    rows.writerow(["Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"])
    with zipfile.ZipFile(folder / test_zip, "w") as archive:
        for i, (image, label) in enumerate(zip(*samples("test", (36, 30, 3), 43), strict=True)):
            archive.writestr(f"GTSRB/Final_Test/Images/{i:05}.ppm", _ppm(image))
            rows.writerow([f"{i:05}.ppm", 30, 36, 4, 4, 26, 32, int(label)])
    with zipfile.ZipFile(folder / truth_zip, "w") as archive:
        archive.writestr("GT-final_test.csv", table.getvalue())
    return _known(folder, [train_zip, test_zip, truth_zip])


def write_adult(folder: Path) -> dict[str, Known]:
    """Write the two files of Adult's layout (64 records each, first line of the test file no record) and return what is known of them."""
    from labkit.data.adult import ATTRIBUTES, CLASSES, FILES

    folder.mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        source, lines = numpy_generator(0, "fake", "adult", split), ["|1x3 Cross validator"] if split == "test" else []
        for number in range(SAMPLES):
            rich = int(source.random() < 0.25)
            cells = [
                values[int(source.integers(len(values)))] if values else str(int(source.integers(17, 60)) + 30 * rich)
                for values in ATTRIBUTES.values()
            ]
            lines.append(", ".join([*cells, CLASSES[number % 2 if number < 2 else rich]]) + ("." if split == "test" else ""))
        (folder / name).write_text("\n".join([*lines, "", ""]), encoding="ascii")
    return _known(folder, list(FILES.values()))


def write_sms_spam(folder: Path) -> Path:
    """Write 128 made-up messages, half of them spam, in the SMS Spam Collection's layout and return the file."""
    from labkit.data.messages import write

    source, lines = numpy_generator(0, "fake", "sms_spam"), dict[str, int]()
    while len(lines) < 2 * SAMPLES:
        spam = int(sum(lines.values()) < SAMPLES and len(lines) % 2)
        lines.setdefault(write(spam, source), spam)
    path = folder / "SMSSpamCollection"
    path.write_text("".join(f"{'spam' if spam else 'ham'}\t{text}\n" for text, spam in lines.items()), encoding="utf-8", newline="\n")
    return path


def write_spoken_digits(folder: Path) -> Path:
    """Write an archive of 64 and 64 made-up recordings, each digit a tone of its own, in the official naming, and return it."""
    path, time = folder / "recordings.zip", np.arange(4000) / 8000
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2 * SAMPLES):
            digit, index = number % SAMPLES % 10, number % SAMPLES // 10 % 5 + 5 * (number >= SAMPLES)
            noise = numpy_generator(0, "fake", "spoken_digits", number).standard_normal(len(time))
            sound = 24_000 * np.sin(2 * np.pi * (300 + 250 * digit) * time) + 500 * noise
            buffer = io.BytesIO()
            with wave.open(buffer, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(sound.astype("<i2").tobytes())
            archive.writestr(f"recordings/{digit}_{'ab'[number % SAMPLES // 50]}_{index}.wav", buffer.getvalue())
    return path


def write_ecg5000(folder: Path) -> Path:
    """Write 128 made-up beats of five classes in ECG5000's layout and return the file."""
    y = np.arange(2 * SAMPLES) // 2 % 5
    x = numpy_generator(0, "fake", "ecg5000").standard_normal((len(y), 140)) * 0.3
    x += 6 * np.exp(-0.5 * ((np.arange(140) - 20 - 25 * y[:, None]) / 6.0) ** 2)
    path = folder / "ECG5000_TRAIN.txt.gz"
    with gzip.open(path, "wt", encoding="ascii") as file:
        np.savetxt(file, np.column_stack([y + 1, x]), fmt="%.6e")
    return path


def write_att_faces(folder: Path) -> Path:
    """Write 380 made-up pictures of 38 people in the layout of the AT&T faces and return the archive."""
    x, y = samples("att_faces", (112, 92), 38, n=380)
    path = folder / "att_faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i, (image, person) in enumerate(zip(x, y.tolist(), strict=True)):
            archive.writestr(f"att_faces/s{person + 3}/{i // 38 + 1}.pgm", b"P5\n92 112\n255\n" + image.tobytes())
    return path


def write_nsl_kdd(folder: Path) -> dict[str, Path]:
    """Write 64 made-up connections a split in NSL-KDD's layout, of which every third is an attack, and return the files."""
    from labkit.data.nsl_kdd import COLUMNS, FILES, SYMBOLS

    paths, kinds = {}, ("normal", "normal", "neptune", "normal", "normal", "satan")
    for split, name in FILES.items():
        source, lines = numpy_generator(0, "fake", "nsl_kdd", split), []
        for number in range(SAMPLES):
            kind = kinds[number % len(kinds)]
            service, flag = ("http", "SF") if kind == "normal" else ("private", "S0")
            usual = {"protocol_type": "tcp", "service": service, "flag": flag}
            cells = [usual[c] if c in SYMBOLS else f"{source.random():.2f}" if c.endswith("rate") else "0" for c in COLUMNS]
            cells[COLUMNS.index("src_bytes")] = str(int(source.integers(20, 2_000)))
            cells[COLUMNS.index("count")] = str(int(source.integers(1, 10) + 200 * (kind != "normal")))
            lines.append(",".join([*cells, kind, "21"]))
        paths[split] = folder / f"{name}.gz"
        paths[split].write_bytes(gzip.compress("\n".join([*lines, ""]).encode("ascii"), 1, mtime=0))
    return paths


def _ppm(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PPM")
    return buffer.getvalue()


def write_location30(path: Path) -> None:
    """Write an archive in the layout of Location-30: quoted group, then 446 zeros and ones; 240 people in six of the thirty groups."""
    random = numpy_generator(0, "fake", "location30")
    habits = random.random((6, 446)) < 0.25
    lines = []
    for person in range(240):
        went = habits[person % 6] ^ (random.random(446) < 0.1)
        lines.append(f'"{5 * (person % 6) + 1}",' + ",".join("1" if place else "0" for place in went))
    content = ("\n".join(lines) + "\n").encode("ascii")
    entry = tarfile.TarInfo("bangkok")
    entry.size = len(content)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(entry, io.BytesIO(content))
