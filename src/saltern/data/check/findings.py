"""What the checks make of an inspected data set: findings, each with its severity and the suspects."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from saltern.data.check.inspection import Inspection
from saltern.data.check.truth import inverted, shifted, whole_set
from saltern.data.likeness.adjacency import Seams
from saltern.data.likeness.duplicates import exact_clusters
from saltern.data.likeness.looks import Looks
from saltern.data.likeness.mosaics import mosaics_of

ERROR, WARNING, INFO = "error", "warning", "info"
SEVERITIES = (ERROR, WARNING, INFO)
TINY = 10
"""Masks with fewer foreground pixels, but some, are named."""


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was noticed."""

    severity: str
    """`error` (it cannot be right), `warning` (look before you train), `info` (good to know)."""
    kind: str
    """A short name, the same for the same check: `exact duplicates`, `tiny masks`, …"""
    text: str
    """One or two sentences: what was found, what it means, what to do."""
    count: int = 0
    """Images concerned; 0 where it is about the data set as a whole."""
    suspects: list[str] = field(default_factory=list)
    """Ids of the images concerned, the clearest first; test and labelled ids alike."""
    sets: list[list[str]] = field(default_factory=list)
    """For duplicates: the ids, divided into what belongs together."""


def find_all(items: Sequence[Inspection], looks: Looks) -> list[Finding]:
    """Every finding about the images and masks, errors first; `looks` compares the images, in the order of `items`."""
    labelled = [item for item in items if item.labelled]
    findings = [
        *_sizes(items),
        *_modes(items),
        *_mask_files(labelled),
        *_run_lengths(labelled),
        *_coverage(labelled),
        *_constant(items),
        *_duplicates(items, looks),
        *_truth(labelled),
        *_tiles(items, looks.seams),
    ]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def finding_of(severity: str, kind: str, text: str, concerned: Iterable[Inspection]) -> list[Finding]:
    """One finding about the images `concerned`, or none where there are none; `{n}` in `text` is their number."""
    ids = [item.id for item in concerned]
    if not ids:
        return []
    return [Finding(severity, kind, text.replace("{n}", str(len(ids))), len(ids), ids)]


def _sizes(items: Sequence[Inspection]) -> list[Finding]:
    train = {item.fingerprint.size for item in items if not item.test}
    strange = [item for item in items if item.test and item.fingerprint.size not in train]
    findings = []
    if train and strange and len(train) <= 3:
        known = ", ".join(f"{height} x {width}" for height, width in sorted(train))
        text = f"{{n}} test images are of a size that no labelled image has (labelled: {known}, height x width)."
        findings += finding_of(WARNING, "test sizes", text, strange)
    elif train:  # sizes differ by nature: only what lies outside their range is strange
        heights, widths = zip(*train, strict=True)
        outside = [
            item
            for item in strange
            if not (
                min(heights) <= item.fingerprint.size[0] <= max(heights)
                and min(widths) <= item.fingerprint.size[1] <= max(widths)
            )
        ]
        span = f"{min(heights)} to {max(heights)} high, {min(widths)} to {max(widths)} wide"
        text = f"{{n}} test images are smaller or larger than every labelled image ({span})."
        findings += finding_of(WARNING, "test sizes", text, outside)
    return findings


def _modes(items: Sequence[Inspection]) -> list[Finding]:
    train, test = (Counter(item.mode for item in items if item.test == part) for part in (False, True))
    new = sorted(set(test) - set(train)) if train else []
    text = (
        f"{{n}} test images have pixels of a type ({', '.join(new)}) that no labelled image has ({', '.join(train)})."
    )
    return finding_of(WARNING, "test pixel types", text, (item for item in items if item.test and item.mode in new))


def _mask_files(labelled: Sequence[Inspection]) -> list[Finding]:
    findings: list[Finding] = []
    deep = [item for item in labelled if "16 bits" in item.mask_kind]
    if deep:
        values = sorted({value for item in deep for value in item.values})
        text = f"{len(deep)} masks are 16-bit files with the values {values[:8]}: fine, they are read as 0 and 1."
        findings.append(Finding(INFO, "16-bit masks", text, len(deep)))
    kinds = Counter(item.mask_kind for item in labelled)
    if len(kinds) > 1:
        shares = "; ".join(f"{kind}: {count}" for kind, count in kinds.most_common())
        findings.append(Finding(INFO, "mask kinds", f"Masks come in {len(kinds)} kinds ({shares}).", len(labelled)))
    return findings


def _run_lengths(labelled: Sequence[Inspection]) -> list[Finding]:
    wrong = [item for item in labelled if item.rle_agrees is False]
    checked = sum(item.rle_agrees is not None for item in labelled)
    if not wrong:
        text = f"All {checked} masks given both as file and as run lengths agree."
        return [Finding(INFO, "mask and run lengths", text, checked)] if checked else []
    note = Counter(item.rle_note for item in wrong).most_common(1)[0][0]
    text = f"{{n}} of {checked} masks differ from their run lengths (most often: {note}). One of the two is wrong."
    return finding_of(ERROR, "mask and run lengths", text, wrong)


def _coverage(labelled: Sequence[Inspection]) -> list[Finding]:
    count = max(len(labelled), 1)
    empty = [item for item in labelled if item.area == 0]
    full = [item for item in labelled if item.area and item.area == item.pixels - item.void]
    tiny = sorted((item for item in labelled if 0 < item.area < TINY), key=lambda item: item.area)
    void = [item for item in labelled if item.void == item.pixels]
    share = len(empty) / count
    findings = [
        *finding_of(INFO, "empty masks", f"{{n}} masks are empty ({share:.1%} of the labelled images).", empty),
        *finding_of(WARNING, "full masks", "{n} masks cover the whole image.", full),
        *finding_of(WARNING, "tiny masks", f"{{n}} masks have fewer than {TINY} foreground pixels.", tiny),
        *finding_of(WARNING, "void masks", "{n} masks are void all over: these images teach nothing.", void),
    ]
    if labelled and len(empty) == count:
        findings.append(
            Finding(ERROR, "no foreground", "No mask has any foreground; are these the right masks?", count)
        )
    mean = np.mean([item.area / max(item.pixels - item.void, 1) for item in labelled]) if labelled else 0.0
    if mean > 0.5 and len(full) > len(empty):
        text = (
            f"Mean coverage is {mean:.1%} and more masks are full than empty: foreground and background look swapped."
        )
        findings.append(Finding(WARNING, "truth looks inverted", text, count))
    return findings


def _constant(items: Sequence[Inspection]) -> list[Finding]:
    constant = [item for item in items if item.fingerprint.constant]
    values = Counter(item.fingerprint.lowest for item in constant)
    filled = [item for item in constant if item.area]
    common = ", ".join(f"{count} of value {value}" for value, count in values.most_common(3))
    text = f"{{n}} images are constant ({common}): nothing can be learned or predicted from them."
    claimed = "{n} constant images have a mask with foreground, which no model can find."
    return [
        *finding_of(WARNING, "constant images", text, constant),
        *finding_of(WARNING, "constant images with foreground", claimed, filled),
    ]


def _duplicates(items: Sequence[Inspection], looks: Looks) -> list[Finding]:
    same = _clusters(items, exact_clusters(looks.prints))
    alike = [part for part in _clusters(items, looks.twins) if len({item.fingerprint.digest for item in part}) > 1]
    torn = [part for part in same if len({item.mask_digest for item in part if item.labelled}) > 1]
    shared = [part for part in same if len({item.test for item in part}) > 1 and not part[0].fingerprint.constant]
    return [
        *_sets(WARNING, "exact duplicates", same, "have the same pixels; folds=duplicates keeps them in one fold"),
        *_sets(WARNING, "near-duplicates", alike, "look the same; folds=duplicates keeps them in one fold"),
        *_sets(WARNING, "duplicates with different masks", torn, "have the same pixels, but different masks"),
        *_sets(WARNING, "test images among the labelled", shared, "are in train and in test: the truth is known"),
    ]


def _clusters(items: Sequence[Inspection], labels: np.ndarray) -> list[list[Inspection]]:
    parts: dict[int, list[Inspection]] = {}
    for item, label in zip(items, labels, strict=True):
        parts.setdefault(int(label), []).append(item)
    return sorted((part for part in parts.values() if len(part) > 1), key=len, reverse=True)


def _sets(severity: str, kind: str, sets: list[list[Inspection]], say: str) -> list[Finding]:
    sizes = ", ".join(str(len(part)) for part in sets[:5]) + (", …" if len(sets) > 5 else "")
    plural = "set" if len(sets) == 1 else "sets"
    text = f"{{n}} images in {len(sets)} {plural} (of {sizes}) {say}."
    found = finding_of(severity, kind, text, (item for part in sets for item in part))
    return [replace(finding, sets=[[item.id for item in part] for part in sets]) for finding in found]


def _truth(labelled: Sequence[Inspection]) -> list[Finding]:
    measured = [(item, item.alignment) for item in labelled if item.alignment is not None]
    alignments = [alignment for _, alignment in measured]
    findings = [Finding(WARNING, "truth of the whole set", f"In the mean over all images, {line}.", len(measured))
                for line in whole_set(alignments)]  # fmt: skip
    for kind, indices, why in (
        ("truth may be shifted", shifted(alignments), "have an outline that fits the image far better elsewhere"),
        ("truth may be inverted", inverted(alignments), "look inside as the others look outside"),
    ):
        text = f"{{n}} masks {why}. Worth a look: some are false alarms."
        findings += finding_of(INFO, kind, text, (measured[index][0] for index in indices))
    return findings


def _tiles(items: Sequence[Inspection], seams: Seams) -> list[Finding]:
    if not seams.many:
        return []
    mosaics = mosaics_of(seams)
    joined = sum(size * count for size, count in mosaics.sizes().items() if size > 1)
    text = (
        f"{{n}} images continue each other at their borders ({len(mosaics.links)} seams, about {mosaics.chance} "
        "of them by chance): they look like tiles of larger pictures. folds=adjacency keeps neighbours in one fold."
    )
    order = np.argsort(-np.bincount(mosaics.labels)[mosaics.labels], kind="stable")[:joined]
    return finding_of(INFO, "adjoining tiles", text, (items[int(index)] for index in order))
