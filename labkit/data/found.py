"""Whether a paper's data set is on this machine, without reading it: for ``labkit data list`` and ``labkit doctor``."""

from __future__ import annotations

from labkit.files import data_dir

# A file or folder that stands for each packing the loaders understand.
_SIGNS_OF = {
    "mnist": ("MNIST/raw/train-images-idx3-ubyte.gz", "MNIST/raw/train-images-idx3-ubyte"),
    "fashion_mnist": ("FashionMNIST/raw/train-images-idx3-ubyte.gz", "FashionMNIST/raw/train-images-idx3-ubyte"),
    "cifar10": ("cifar-10-batches-py/test_batch", "cifar-10/test_batch.webp"),
    "gtsrb": ("gtsrb/GTSRB-Training_fixed.zip", "gtsrb-32x32/train.webp"),
    "adult": ("adult/adult.data.gz", "adult/adult.data"),
    "sms_spam": ("sms-spam/SMSSpamCollection",),
    "spoken_digits": ("free-spoken-digit/recordings.zip",),
    "ecg5000": ("ecg5000/ECG5000_TRAIN.txt.gz",),
    "location30": ("location-30/dataset_location.tgz",),
    "att_faces": ("att_faces/att_faces.zip",),
    "nsl_kdd": ("nsl-kdd/KDDTrain+.txt.gz", "nsl-kdd/KDDTrain+.txt"),
}


def found(name: str) -> str:
    """Return "found: FOLDER" (inside ``LABKIT_DATA``) for a set that seems to be there, else an empty text."""
    for path in _SIGNS_OF[name]:
        if (data_dir() / path).is_file():
            return f"found: {path.rsplit('/', 1)[0]}"
    return ""
