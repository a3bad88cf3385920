"""`make score submission=FILE truth=FILE`: grade a submission CSV against a truth CSV of the same form."""

import console
import hydra
from omegaconf import DictConfig

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs/grading", config_name="score")
@console.answering
def main(raw: DictConfig) -> None:
    """Print the scores of the submission."""
    config = resolve(raw)
    from saltern import pipeline

    scores = pipeline.score_submission(config)
    console.show_scores(config.submission, scores)
    if console.is_quiet():
        console.answer("  ".join(f"{name} {value:.4f}" for name, value in scores.items() if isinstance(value, float)))


if __name__ == "__main__":
    console.enter(main, groups=False)
