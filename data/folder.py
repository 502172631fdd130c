"""A folder, or a zip file, of image files."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data import labels
from data.archive import of_archive
from data.captions import of_listing as of_captions
from data.files import share_of
from data.fingerprint import Openable, of_facts, of_files
from data.images import check_image, load_image
from data.listing import Listing, of_folder
from data.source import Example, Source, Unreadable
from limits import Sides, sides


def folder(
    *,
    path: str,
    image_size: Sides,
    test_path: str | None = None,
    test_fraction: float = 0.1,
    num_channels: int = 3,
    verify: bool = True,
    classes: bool = False,
    captions: bool = False,
) -> Source:
    """The images below `path`, a folder or a zip file, all of one size.

    `image_size` is the side of square images, or (height, width). Of a picture of another size the largest rectangle of
    these proportions is cut out of the middle and resized with antialiasing (`data.images.load_image`).

    Links to folders are followed, hidden files left out (`data.listing`). With `classes` the labels are those of the
    dataset.json there (`data.labels`), or where there is none the folders right below `path` are classes, numbered in
    the order of their names. With `captions` each picture has one, in a .txt file beside it or in a metadata.jsonl
    (`data.captions`).

    The test set is `test_path`, or else those files whose relative path hashes below `test_fraction`, so that
    adding files moves none from one set to the other. Every file is decoded here once (unless `verify` is off), which
    takes as long as an epoch of reading: a damaged one, a missing folder or an empty set is a ValueError that names it.
    """
    if num_channels not in (1, 3):
        raise ValueError(f"folder: num_channels must be 1 (grey) or 3 (RGB), got {num_channels}")
    if not str(path).strip():
        raise ValueError(
            f"folder: data.path is {str(path)!r}; give the folder of the pictures, as --config.data.path=FOLDER"
        )
    listing = _listing(Path(path), captions)
    test_listing = _listing(Path(test_path), captions) if test_path else listing
    train, test = list(listing.pictures), list(test_listing.pictures) if test_path else []
    if not test_path and test_fraction > 0:
        held_out = {name for name in train if share_of(name) < test_fraction}
        train, test = [name for name in train if name not in held_out], [name for name in train if name in held_out]
        if not train or not test:
            raise ValueError(
                f"folder: test_fraction={test_fraction} splits the images of {path} into {len(train)} to "
                f"train on and {len(test)} to test; change it, or give test_path (0: no test set)"
            )
    known, class_names = _classes(listing, test_listing, train, test) if classes else (None, ())
    shape, records = (*sides(image_size), num_channels), []
    said = {of_set.root: of_captions(of_set) for of_set in (listing, test_listing)} if captions else {}
    for names, of_set, label_of in zip((train, test), (listing, test_listing), known or (None, None), strict=True):
        labels = None if label_of is None else [label_of[name] for name in names]
        texts = [said[of_set.root][name] for name in names] if captions else None
        records.append(Files([of_set.pictures[name] for name in names], shape, labels, texts))
    if verify:
        with ThreadPoolExecutor() as pool:
            files = [*records[0].files, *records[1].files]
            lines = pool.map(partial(_damage, channels=num_channels), files)
            shown = tqdm(lines, "checking the image files", len(files), unit="file", delay=5.0, dynamic_ncols=True)
            damaged = [line for line in shown if line]
        if damaged:
            raise ValueError(f"folder: {len(damaged)} image file(s) cannot be read, the first {damaged[0]}")
    count = 1 + max(label for label_of in known for label in label_of.values()) if known else 0
    return Source("folder", records[0], records[1], shape, 256, num_classes=count, class_names=class_names)


class Files:
    """Records of image files, decoded when asked for; with their `labels` and `captions` where they have any."""

    def __init__(
        self,
        files: list[Openable],
        shape: tuple[int, int, int],
        labels: list[int] | None = None,
        captions: list[str] | None = None,
    ):
        self.files, self.shape, self.labels, self.captions = files, shape, labels, captions

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        try:
            image = load_image(_content(self.files[index]), channels=self.shape[2], size=self.shape[:2])
        except (ValueError, OSError) as error:
            raise Unreadable(f"cannot read the image {self.files[index]}: {error}") from error
        label = {} if self.labels is None else {"label": np.int32(self.labels[index])}
        caption = {} if self.captions is None else {"caption": self.captions[index]}
        return {"image": image, **label, **caption}

    def fingerprint(self) -> str:
        """The fingerprint is that of the files' content in their order, of labels, captions and the shape they are
        read to.
        """
        facts = ["folder", self.shape, self.labels, of_files(self.files, "the image files")]
        return of_facts(facts if self.captions is None else [*facts, self.captions])


def _listing(path: Path, captioned: bool) -> Listing:
    """The pictures of a folder or a zip file, and the files of their captions where these are wanted."""
    if path.is_file():
        return of_archive(path, captioned=captioned)
    if not path.is_dir():
        raise ValueError(f"folder: {path} is not a folder, nor a zip file")
    return of_folder(path, captioned=captioned)


def _classes(
    listing: Listing, test_listing: Listing, train: list[str], test: list[str]
) -> tuple[list[dict[str, int]], tuple[str, ...]]:
    """The labels by file name, of both sets; and the names of the classes, which a dataset.json does not say.

    Raises:
      ValueError: a picture has none, or a class is in the test set alone.
    """
    given = [labels.of_listing(each) for each in (listing, test_listing)]
    known = [label_of for label_of in given if label_of is not None]
    if not known:
        folders = [labels.of_folders(each) for each in (listing, test_listing)]
        names = sorted({folders[0][name] for name in train})
        unknown = sorted({folders[1][name] for name in test} - set(names))
        if unknown:
            raise ValueError(f"folder: class {unknown[0]!r} is in the test set alone; known are {', '.join(names)}")
        places = {name: place for place, name in enumerate(names)}
        found = [{name: places[folder] for name, folder in of.items() if folder in places} for of in folders]
        return found, tuple(names)
    if len(known) < len(given):
        raise ValueError(
            f"folder: of {listing.root} and {test_listing.root} one has its labels in a {labels.LABELS_FILE}, and the "
            "other is without; give it one too"
        )
    largest = max(known[0].values())
    alone = next((name for name in test if known[1][name] > largest), None)
    if alone is not None:
        raise ValueError(
            f"folder: class {known[1][alone]} of {alone} is in the test set alone; known are 0 to {largest}"
        )
    return known, ()


def _content(file: Openable) -> Path | bytes:
    """What a picture is decoded from: a file on the disk, of which the decoder reads what it needs, or bytes."""
    return file if isinstance(file, Path) else file.open("rb").read()


def _damage(file: Openable, channels: int) -> str | None:
    try:
        check_image(_content(file), channels=channels)
    except (ValueError, OSError) as error:
        return f"{file} ({error})"
    return None
