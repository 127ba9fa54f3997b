"""Brakes guessing of passwords and making of accounts: per account and per address, shared through Redis where it answers."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import redis
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.core.clock import Clock
from app.core.errors import TooManyRequests
from app.core.logging import get_logger

PER_ACCOUNT: Final = RateLimitItemPerMinute(5, namespace="login-account")
PER_ADDRESS: Final = RateLimitItemPerMinute(20, namespace="login-address")
REGISTRATIONS: Final = RateLimitItemPerMinute(60, namespace="register-address")
REFRESHES: Final = RateLimitItemPerMinute(60, namespace="refresh-address")
SIGN_INS: Final = RateLimitItemPerMinute(60, namespace="oidc-address")
PASSWORD_CHANGES: Final = RateLimitItemPerMinute(5, namespace="password-account")
REDIS_TIMEOUT_SECONDS: Final = 0.5
REDIS_PAUSE_SECONDS: Final = 10.0
log = get_logger(__name__)
Answer = TypeVar("Answer")


class Throttle:
    """Counts attempts, mostly failed ones. While Redis does not answer, each process counts for itself."""

    def __init__(self, redis_url: str, clock: Clock) -> None:
        self._clock = clock
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._shared = _shared_limiter(redis_url)
        self._redis_again_at = clock.monotonic()

    def enter(self, email: str, address: str) -> None:
        """Count an attempt against the account.

        Raises:
            TooManyRequests: the account or the address has used up its attempts.
        """
        self._ask(lambda limiter: _enter(limiter, email, address))

    def failed(self, address: str) -> None:
        """Count a failed login against the address."""
        self._ask(lambda limiter: limiter.hit(PER_ADDRESS, address))

    def succeeded(self, email: str) -> None:
        """Forget the attempts of an account: its owner is here."""
        self.forget(PER_ACCOUNT, email)

    def count(self, limit: RateLimitItemPerMinute, who: str) -> None:
        """Count one of the attempts that are limited so.

        Raises:
            TooManyRequests: there were too many.
        """
        self._ask(lambda limiter: _hit(limiter, limit, who))

    def forget(self, limit: RateLimitItemPerMinute, who: str) -> None:
        """Forget somebody's attempts."""
        self._ask(lambda limiter: limiter.clear(limit, who))

    def _ask(self, question: Callable[[MovingWindowRateLimiter], Answer]) -> Answer:
        if self._clock.monotonic() >= self._redis_again_at:
            try:
                return question(self._shared)
            except (redis.RedisError, StorageError) as error:
                self._redis_again_at = self._clock.monotonic() + REDIS_PAUSE_SECONDS
                log.warning("throttle_without_redis", error=str(error))
        return question(self._own)


def _enter(limiter: MovingWindowRateLimiter, email: str, address: str) -> None:
    if not limiter.test(PER_ADDRESS, address):
        _refuse(limiter, PER_ADDRESS, address)
    _hit(limiter, PER_ACCOUNT, email)


def _hit(limiter: MovingWindowRateLimiter, item: RateLimitItemPerMinute, key: str) -> None:
    if not limiter.hit(item, key):
        _refuse(limiter, item, key)


def _refuse(limiter: MovingWindowRateLimiter, item: RateLimitItemPerMinute, key: str) -> None:
    wait = max(1, round(limiter.get_window_stats(item, key).reset_time - time.time() + 0.5))
    raise TooManyRequests(f"Too many attempts: try again in {wait} seconds.", wait)


class _OnRedis(RedisStorage):
    """One that does not import Valkey's own client too, where that is installed: it takes as long as Redis' does."""

    DEPENDENCIES = {"redis": RedisStorage.DEPENDENCIES["redis"]}


def _shared_limiter(redis_url: str) -> MovingWindowRateLimiter:
    pool = redis.ConnectionPool.from_url(
        redis_url,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return MovingWindowRateLimiter(_OnRedis(redis_url, connection_pool=pool))
