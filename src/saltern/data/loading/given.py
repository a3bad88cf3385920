"""Images that belong to no data set, as a source of pixels: in memory already, or a part of a list of files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from saltern.config import DatasetConfig
from saltern.data.loading.cache import ImageSource
from saltern.data.loading.geometry import scale_image
from saltern.data.source.dataset import Dataset, Entry, table_of
from saltern.data.source.found import Part


class GivenImages(ImageSource):
    """Arrays uint8 (H, W, 3), RGB, of any sizes, by position; their ids are "0", "1" and so on."""

    def __init__(self, images: Sequence[np.ndarray], config: DatasetConfig) -> None:
        entries = [Entry(str(row), "", height=len(image), width=image.shape[1]) for row, image in enumerate(images)]
        dataset = Dataset(Path(), table_of([]), table_of(entries))
        super().__init__(dataset, dataset.test, config)
        self._images = images

    def image(self, row: int) -> np.ndarray:
        """See `ImageSource.image`."""
        return scale_image(self._images[row], self.scaled[row])

    def image_at_native_size(self, row: int) -> np.ndarray:
        """See `ImageSource.image_at_native_size`."""
        return self._images[row]


def images_of(part: Part, folder: Path, config: DatasetConfig) -> ImageSource:
    """The images of `part` of a list of files in `folder`, read as `config` says."""
    dataset = part.dataset(folder)
    return ImageSource(dataset, dataset.test, config)
