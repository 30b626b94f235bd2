"""State in Redis."""

from cascade.adapters.state.redis.backend import RedisStateBackend, check_url, open_url

__all__ = ["RedisStateBackend", "check_url", "open_url"]
