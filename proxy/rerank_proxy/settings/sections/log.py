"""The section about what the proxy writes to its log."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from rerank_proxy.settings.values import Reloaded, Seconds, Section, Words


def _off(value: object) -> object:
    """Take false for the word `off`, which Helm and others that read YAML 1.1 make of it."""
    return "off" if value is False else value


Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]
Access = Literal["off", "errors", "all"]


class LogSettings(Section):
    level: Reloaded[Level] = Field("info", description="The level of the log, which goes to standard error.")
    format: Reloaded[Format] = Field(
        "text",
        description="How its lines are written: for people, or each as a JSON object with the names of the "
        "Elastic Common Schema.",
    )
    access: Reloaded[Annotated[Access, BeforeValidator(_off)]] = Field(
        "errors",
        description="Which requests have a line when they end: none; those that failed (5xx, 429, answers "
        "that break off) and slow ones; all. On connections that are opened from now on.",
    )
    access_sample: Reloaded[float] = Field(
        1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="With `all`, the share of the other requests that have a line. All requests of a trace "
        "have one, or none.",
    )
    access_exclude: Reloaded[Words] = Field(
        (),
        description="Paths whose requests have no line; with `*` at the end, all that begin so.",
    )
    slow_warn_s: Reloaded[Seconds | None] = Field(
        None, description="Reranked searches that take so many seconds have a warning that says why."
    )
    slow_info_s: Reloaded[Seconds | None] = Field(
        None,
        description="The same at the level `info`. The shorter of both times is also what makes a request "
        "slow for `log.access`.",
    )
    slow_source: Reloaded[bool] = Field(
        False,
        description="Whether these lines also show the beginning of the body, which holds what people search "
        "for.",
    )

    @property
    def slow_s(self) -> float | None:
        """Return the seconds from which on a request is slow; None if none is."""
        return min((each for each in (self.slow_warn_s, self.slow_info_s) if each is not None), default=None)
