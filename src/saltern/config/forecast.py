"""For how many test images the score is forecast."""

from dataclasses import dataclass

from saltern.errors import ConfigError


@dataclass(kw_only=True)
class ForecastConfig:
    """The leaderboard whose score is forecast; it changes nothing else, so it may be given later: `make tune`."""

    images: int | None = None
    """Images that the leaderboard counts; null: the test images of the data set."""
    public_images: int | None = None
    """How many of them its public part counts, which is forecast too; null: not asked for."""


def check_forecast(forecast: ForecastConfig, test_images: int | None = None) -> None:
    """Refuse a leaderboard that cannot be.

    Args:
        forecast: the settings.
        test_images: those of the data set, once they are known.

    Raises:
        ConfigError: names the key that is wrong.
    """
    images, public = forecast.images, forecast.public_images
    for key, value in (("images", images), ("public_images", public)):
        if value is not None and value < 1:
            raise ConfigError(f"forecast.{key}={value}: expected null or a number of images, at least 1.")
    whole = test_images if images is None else images
    if public is not None and whole is not None and public > whole:
        of = "forecast.images" if images is not None else "the test images of the data set"
        raise ConfigError(
            f"forecast.public_images={public}: expected at most {whole}, {of}: the public part is a part of the test."
        )
