"""Pages of the admin: recorded calls, what was thought of them, experiments, performance, savings,
kept answers, idempotency keys, and brakes."""

from telemetry.admin import brakes, cache_rules, feedback, keyed_calls, quality_weights, spans

__all__ = ["brakes", "cache_rules", "feedback", "keyed_calls", "quality_weights", "spans"]
