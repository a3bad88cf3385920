"""Draw the figures of `docs/losses.md`, with the package's own losses, and of `docs/honesty.md`: `make figures`."""

from functools import partial
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from honest import FIGURES, PLAIN
from matplotlib.axes import Axes
from torch import Tensor

from saltern.losses import bce, dice, focal, jaccard, lovasz_hinge, tversky

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, RED, GREY = "#2166ac", "#e08214", "#1b7837", "#b2182b", "#8c8c8c"
FOREGROUND, BACKGROUND = BLUE, ORANGE


def main() -> None:
    """Write every figure beside this file.

    Those of `docs/honesty.md` are clear with grey text, for light and dark pages.
    """
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 110})
    figures = {
        "lovasz_sorting": lovasz_sorting,
        "two_pixels": two_pixels,
        "activations": activations,
        "dice_and_iou": dice_and_iou,
        "tversky_trade_off": tversky_trade_off,
        "focal_weights": focal_weights,
        "empty_truth": empty_truth,
    }
    for name, draw in figures.items():
        figure = draw()
        figure.savefig(HERE / f"{name}.png", metadata={"Software": None})
        plt.close(figure)
    grey = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), PLAIN)
    for name, draw in FIGURES.items():
        with plt.rc_context({**grey, "savefig.transparent": True}):
            figure = draw()
            figure.savefig(HERE / f"{name}.png", metadata={"Software": None})
            plt.close(figure)


# --------------------------------------------------------------------------------- Lovász: the sorting
TRUTH = torch.tensor([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]])
LOGITS = torch.tensor([[-2.5, -1.6, -1.8, -3.0], [-1.4, 2.2, 0.5, 0.4], [-0.7, 1.7, -0.8, -0.1]])


def lovasz_sorting() -> plt.Figure:
    """Twelve pixels: their errors, the order, the growth of the Jaccard loss, and the loss as an area."""
    logits = LOGITS.clone().requires_grad_()
    loss = lovasz_hinge(logits[None, None], TRUTH[None])
    loss.backward()
    weights, truth = logits.grad.abs().flatten().numpy(), TRUTH.flatten().numpy()
    errors = torch.where(TRUTH == 1, 1 - LOGITS, 1 + LOGITS).flatten().numpy()
    order = [pixel for pixel in np.argsort(-errors) if errors[pixel] > 0]
    figure, panels = plt.subplots(1, 4, figsize=(12, 3.4), width_ratios=(1.2, 1.1, 1.1, 1.2), layout="constrained")
    _pixels(panels[0], order)
    colours = [FOREGROUND if truth[pixel] else BACKGROUND for pixel in order]
    ranks = np.arange(1, len(order) + 1)
    panels[1].bar(ranks, errors[order], color=colours)
    for rank, error in zip(ranks, errors[order], strict=True):
        panels[1].text(rank, error + 0.02, f"{error:.1f}", ha="center", fontsize=8)
    panels[1].set(title="2  errors above 0, sorted", xlabel="rank", ylabel="error", xticks=ranks, ylim=(0, 2))
    grown = np.cumsum(weights[order])
    panels[2].bar(ranks, weights[order], bottom=grown - weights[order], color=colours)
    panels[2].step(np.append(0.5, ranks + 0.5), np.append(grown, grown[-1]), where="post", color="black", lw=1)
    for rank, pixel, top in zip(ranks, order, grown, strict=True):
        panels[2].text(rank, top + 0.015, f"+{weights[pixel]:.2f}", ha="center", fontsize=8)
    panels[2].set(title="3  pixels go wrong in this order", xlabel="pixels gone wrong", xticks=ranks)
    panels[2].set(ylabel="Jaccard loss (1 - IoU)", ylim=(0, 1))
    panels[3].bar(grown - weights[order], errors[order], width=weights[order], align="edge", color=colours, ec="white")
    panels[3].set(title=f"4  the loss is the area: {loss.item():.2f}", xlabel="Jaccard loss", ylabel="error")
    panels[3].set_ylim(0, 2)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (FOREGROUND, BACKGROUND)]
    panels[1].legend(handles, ["truth is foreground", "truth is background"], frameon=False, fontsize=8)
    return figure


def _pixels(panel: Axes, order: list[int]) -> None:
    """The image: colour is truth, text the logit, the small number the rank."""
    height, width = TRUTH.shape
    for pixel in range(TRUTH.numel()):
        row, column = divmod(pixel, width)
        colour = FOREGROUND if TRUTH[row, column] else BACKGROUND
        wrong = (LOGITS[row, column] > 0) != (TRUTH[row, column] == 1)
        panel.add_patch(plt.Rectangle((column, row), 1, 1, fc=colour, alpha=0.35, ec="white", lw=2))
        style = "bold" if wrong else "normal"
        text = f"{LOGITS[row, column]:.1f}"
        panel.text(column + 0.5, row + 0.5, text, ha="center", va="center", weight=style, color=RED if wrong else "k")
        if pixel in order:
            panel.text(column + 0.93, row + 0.92, order.index(pixel) + 1, ha="right", fontsize=8, color="#444444")
    panel.set(
        xlim=(0, width), ylim=(height, 0), aspect="equal", title="1  logits (red: wrong sign)\nand rank of the error"
    )
    panel.axis("off")


# ------------------------------------------------------------------------------ Lovász: two pixels
def two_pixels() -> plt.Figure:
    """The Jaccard loss of two pixels over their logits, and the Lovász hinge that replaces it."""
    axis = torch.linspace(-2.5, 2.5, 61)
    first, second = torch.meshgrid(axis, axis, indexing="xy")
    logits = torch.stack([first, second], dim=-1)
    figure, panels = plt.subplots(2, 3, figsize=(10, 6.4), sharex=True, sharey=True, layout="constrained")
    for column, truth in enumerate(([1, 1], [1, 0], [0, 0])):
        target = torch.tensor(truth)
        mask = (logits > 0).long()
        union = (mask | target).sum(-1)
        discrete = torch.where(union > 0, 1 - (mask & target).sum(-1) / union.clamp(min=1), 0.0)
        smooth = torch.tensor([[_of_two(logits[i, j], target) for j in range(61)] for i in range(61)])
        top = panels[0, column].pcolormesh(axis, axis, discrete, cmap="Blues", vmin=0, vmax=1.3)
        for x, y in ((-1.25, -1.25), (-1.25, 1.25), (1.25, -1.25), (1.25, 1.25)):
            value = discrete[30 + int(12 * y), 30 + int(12 * x)].item()
            panels[0, column].text(x, y, f"{value:.2g}", ha="center", va="center", fontsize=12)
        levels = np.arange(0, 3.75, 0.25)
        below = panels[1, column].contourf(axis, axis, smooth, levels=levels, cmap="Blues")
        panels[1, column].contour(axis, axis, smooth, levels=levels[1:], colors="white", linewidths=0.5)
        for wrong in ((0, 0), (0, 1), (1, 0), (1, 1)):
            x, y = ((2 * truth[pixel] - 1) * (1 - wrong[pixel]) for pixel in (0, 1))
            panels[1, column].plot(x, y, "o", color=RED, ms=4)
            value = _of_two(torch.tensor([float(x), float(y)]), target)
            panels[1, column].annotate(f"{value:.2g}", (x, y), (4, 4), textcoords="offset points", color=RED)
        for panel in panels[:, column]:
            panel.axhline(0, color=GREY, lw=0.6)
            panel.axvline(0, color=GREY, lw=0.6)
        panels[0, column].set_title(f"truth of the two pixels: {truth[0]}, {truth[1]}")
        panels[1, column].set_xlabel("logit of pixel 1")
    panels[0, 0].set_ylabel("Jaccard loss of the mask\n\nlogit of pixel 2")
    panels[1, 0].set_ylabel("Lovász hinge\n\nlogit of pixel 2")
    figure.colorbar(top, ax=panels[0], label="loss", shrink=0.8, boundaries=np.linspace(0, 1, 21), ticks=[0, 0.5, 1])
    figure.colorbar(below, ax=panels[1], label="loss", shrink=0.8)
    return figure


def _of_two(logits: Tensor, target: Tensor) -> float:
    return lovasz_hinge(logits.view(1, 1, 1, 2), target.view(1, 1, 2)).item()


def activations() -> plt.Figure:
    """What one foreground pixel costs under both activations, next to cross-entropy; and the push it gets."""
    logits = torch.linspace(-3, 5, 161)
    figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.2), layout="constrained")
    curves = {
        "lovasz_hinge, relu": (lambda one: lovasz_hinge(one, torch.ones(1, 1, 1)), BLUE, "-"),
        "lovasz_hinge, elu1": (lambda one: lovasz_hinge(one, torch.ones(1, 1, 1), activation="elu1"), ORANGE, "-"),
        "bce": (lambda one: bce(one, torch.ones(1, 1, 1)), GREY, "--"),
    }
    for name, (loss, colour, style) in curves.items():
        values, pushes = _curve(loss, logits)
        panels[0].plot(logits, values, style, color=colour, label=name)
        panels[1].plot(logits, -pushes, style, color=colour)
    panels[0].set(title="loss of an image of one foreground pixel", xlabel="logit", ylabel="loss")
    panels[1].set(title="how hard the logit is pushed up", xlabel="logit", ylabel="minus the gradient")
    panels[0].legend(frameon=False)
    for panel in panels:
        panel.axvline(1, color=GREY, lw=0.6, ls=":")
    return figure


def _curve(loss, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    """Values and derivatives of a loss of one pixel."""
    values, slopes = [], []
    for logit in logits.tolist():
        one = torch.full((1, 1, 1, 1), logit, requires_grad=True)
        value = loss(one)
        value.backward()
        values.append(value.item())
        slopes.append(one.grad.item())
    return np.array(values), np.array(slopes)


# ------------------------------------------------------------------------------------ region losses
AXIS = (torch.arange(160) - 79.5) / 2
RADIUS = (AXIS[:, None] ** 2 + AXIS**2).sqrt()


def _disc(radius: float) -> Tensor:
    """Truth (1, H, W): a disc in the middle."""
    return (radius > RADIUS).long()[None]


def _certain(mask: Tensor) -> Tensor:
    """Logits (1, 1, H, W) that leave no doubt about `mask`."""
    return 40.0 * (2.0 * mask - 1)[:, None]


def dice_and_iou() -> plt.Figure:
    """Both losses while a predicted disc grows through the truth, and one score as a function of the other."""
    truth = _disc(20)
    radii = np.arange(0, 40.5, 0.5)
    area = [(_disc(radius).sum() / truth.sum()).item() for radius in radii]
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.6), width_ratios=(1.5, 1), layout="constrained")
    scores = {}
    for name, loss, colour in (("jaccard", jaccard, BLUE), ("dice", dice, ORANGE)):
        losses = [loss(_certain(_disc(radius)), truth, smooth=0.0).item() for radius in radii]
        panels[0].plot(area, losses, color=colour, label=f"{name} loss")
        scores[name] = 1 - np.array(losses)
    panels[0].axvline(1, color=GREY, lw=0.6, ls=":")
    panels[0].set(title="a predicted disc grows", xlabel="predicted area / true area", ylabel="loss", ylim=(0, 1))
    panels[0].text(0.5, 0.82, "too small", ha="center", color=GREY)
    panels[0].text(2.6, 0.82, "too large", ha="center", color=GREY)
    panels[0].legend(frameon=False, loc="lower right")
    panels[1].plot(scores["jaccard"], scores["dice"], ".", color=GREEN)
    panels[1].plot([0, 1], [0, 1], color=GREY, lw=0.6)
    panels[1].set(title="Dice = 2 IoU / (1 + IoU)", xlabel="IoU", ylabel="Dice", aspect="equal")
    return figure


def tversky_trade_off() -> plt.Figure:
    """What alpha and beta do: the two slopes, and the mask one should predict where the truth is uncertain."""
    weights = ((0.7, 0.3, ORANGE), (0.5, 0.5, GREY), (0.3, 0.7, BLUE))
    radii = np.arange(8, 33)
    predicted = [_certain(_disc(radius)) for radius in radii]
    possible = [_disc(radius) for radius in range(14, 27, 2)]
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.6), sharex=True, layout="constrained")
    for alpha, beta, colour in weights:
        name = f"alpha {alpha}, beta {beta}"
        loss = partial(tversky, alpha=alpha, beta=beta, smooth=0.0)
        losses = np.array([[loss(mask, truth).item() for truth in possible] for mask in predicted])
        panels[0].plot(radii, losses[:, 3], color=colour, label=name)
        expected = losses.mean(1)
        best = expected.argmin()
        panels[1].plot(radii, expected, color=colour)
        panels[1].plot(radii[best], expected[best], "o", color=colour)
        panels[1].annotate(f"{radii[best]:g}", (radii[best], expected[best]), (0, -12), textcoords="offset points")
    panels[0].axvline(20, color=GREY, lw=0.6, ls=":")
    panels[0].set(title="true radius 20", xlabel="predicted radius", ylabel="Tversky loss", ylim=(0, None))
    panels[1].set(title="true radius anywhere from 14 to 26", xlabel="predicted radius")
    panels[1].set(ylabel="mean Tversky loss; dot: least", ylim=(0, None))
    panels[0].legend(frameon=False)
    return figure


# --------------------------------------------------------------------------------- focal, empty truth
def focal_weights() -> plt.Figure:
    """The loss of one pixel, and its push relative to cross-entropy's, over the probability of its true class."""
    probs = torch.linspace(0.01, 0.99, 99)
    logits = torch.logit(probs)
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, 5))
    for gamma, colour in zip((0.0, 0.5, 1.0, 2.0, 5.0), colours, strict=True):
        name = "0 (cross-entropy)" if gamma == 0 else f"{gamma:g}"
        values, _ = _curve(lambda one, gamma=gamma: focal(one, torch.ones(1, 1, 1), gamma=gamma), logits)
        plain, _ = _curve(lambda one: focal(one, torch.ones(1, 1, 1), gamma=0.0), logits)
        panels[0].plot(probs, values, color=colour, label=name)
        panels[1].plot(probs, values / plain, color=colour)
    panels[0].set(title="loss of a pixel", xlabel="probability of its true class", ylabel="loss", ylim=(0, 4))
    panels[1].set(title="its weight: loss / cross-entropy", xlabel="probability of its true class", ylabel="weight")
    panels[0].legend(title="gamma", frameon=False, loc="upper center")
    panels[0].text(0.75, 0.9, "right at 0.5", ha="center", color=GREY)
    for panel in panels:
        panel.axvspan(0.5, 1, color=GREY, alpha=0.1, lw=0)
    return figure


def empty_truth() -> plt.Figure:
    """What an image without foreground costs, and the whole push on it, while the predicted probability falls."""
    probs = np.logspace(-5, np.log10(0.97), 120)
    target = torch.zeros(1, 101, 101)
    curves = {
        "dice, smooth 1": (lambda one: dice(one, target, smooth=1.0), BLUE, "-"),
        "dice, smooth 100": (lambda one: dice(one, target, smooth=100.0), GREEN, "-"),
        "dice, empty: mean": (lambda one: dice(one, target, empty="mean"), ORANGE, "-"),
        "bce": (lambda one: bce(one, target), GREY, "--"),
        "lovasz_hinge": (lambda one: lovasz_hinge(one, target), RED, ":"),
    }
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.6), sharex=True, layout="constrained")
    for name, (loss, colour, style) in curves.items():
        values, pushes = [], []
        for prob in probs:
            one = torch.full((1, 1, 101, 101), float(np.log(prob / (1 - prob))), requires_grad=True)
            value = loss(one)
            value.backward()
            values.append(value.item())
            pushes.append(one.grad.sum().item())
        panels[0].plot(probs, values, style, color=colour, label=name)
        panels[1].plot(probs, pushes, style, color=colour)
    panels[0].set(title="an empty 101 x 101 image costs", ylabel="loss", xscale="log", ylim=(0, 1.5))
    panels[1].set(title="and its logits are pushed down by", ylabel="sum of the gradient", yscale="log")
    panels[1].set_ylim(1e-5, 2)
    for panel in panels:
        panel.set_xlabel("probability predicted everywhere")
    panels[0].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
