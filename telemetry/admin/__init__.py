"""Pages of the admin: recorded calls, what was thought of them, experiments, savings, kept answers, and brakes."""

from telemetry.admin import brakes, cache_rules, feedback, spans

__all__ = ["brakes", "cache_rules", "feedback", "spans"]
