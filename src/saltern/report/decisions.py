"""What a decision does to the shape of a mask, in words."""

from saltern.inference.shapes import Shape


def shape_words(shape: Shape) -> list[str]:
    """A clause for each number of `shape` that does something, in the order in which it is done."""
    clauses = [
        (shape.fill_holes, f"holes of at most {shape.fill_holes:,} pixels are filled"),
        (shape.min_component, f"components of fewer than {shape.min_component:,} pixels are taken away"),
        (shape.largest, "the largest component is kept" if shape.largest == 1
         else f"the {shape.largest} largest components are kept"),
    ]  # fmt: skip
    return [words for number, words in clauses if number]
