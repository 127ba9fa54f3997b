"""Rate limits as the settings name them, counted by all API processes together in Redis."""

from collections.abc import Mapping
from typing import Final

import redis
from limits import RateLimitItem, parse
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.core.clock import Clock
from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.services.rate_limits import Counted, Counters, RateLimits

REDIS_TIMEOUT_SECONDS: Final = 0.5
NAMESPACE: Final = "LIMITS:rate"
"""Where the names in Redis begin, beside those that `limits` gives to what the throttle counts."""
OFF: Final = frozenset({"", "off", "none"})


class RedisCounts:
    """The counts of all processes, in Redis: one round trip, however many callers there were."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.Redis.from_url(
            redis_url,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def add(
        self, new: Counters, seconds: Mapping[Counted, int]
    ) -> Mapping[tuple[Counted, str, int], tuple[int, int]]:
        """Add to the counters; they go when no window needs them any more.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        with self._redis.pipeline(transaction=False) as pipeline:
            for (counted, who, window), calls in new.items():
                name = f"{NAMESPACE}/{counted}/{who}/{seconds[counted]}/"
                pipeline.incrby(f"{name}{window}", calls)
                pipeline.expire(f"{name}{window}", 2 * seconds[counted])
                pipeline.get(f"{name}{window - 1}")
            answers = pipeline.execute()
        totals = zip(answers[::3], answers[2::3], strict=True)
        return {
            key: (int(total), int(before or 0))
            for key, (total, before) in zip(new, totals, strict=True)
        }


def rate_limits(settings: Settings, clock: Clock) -> RateLimits:
    """Return the limits that the settings name.

    Raises:
        ConfigurationError: one of them is written in another way.
    """
    texts = {
        Counted.USER: settings.rate_limit_per_user,
        Counted.KEY: settings.rate_limit_per_key,
        Counted.ADDRESS: settings.rate_limit_per_address,
        Counted.WORKFLOW: settings.rate_limit_per_workflow,
    }
    items = {
        counted: _item(f"RATE_LIMIT_PER_{counted.upper()}", text)
        for counted, text in texts.items()
        if text is not None and text.strip().lower() not in OFF
    }
    return RateLimits(items, clock, RedisCounts(settings.redis_url) if settings.redis_url else None)


def _item(name: str, text: str) -> RateLimitItem:
    try:
        item = parse(text)
    except ValueError:
        item = None
    if item is None or item.amount < 1:
        raise ConfigurationError(
            f"{name}: {text!r} is no rate limit: write it as 6000/minute, 100/second or 50 per 10 minutes; `off` is none."
        )
    return item
