"""What happened, what it cost and how good it was; and the rules that save money on what happens next."""

from telemetry.models.brake import BRAKES_SNAPSHOT, Brake, BrakeStop, ScopeType
from telemetry.models.cache_rule import CACHE_RULES_SNAPSHOT, ResponseCacheRule
from telemetry.models.feedback import Feedback
from telemetry.models.keyed_call import KeyedCall
from telemetry.models.quality_weights import QualityWeights
from telemetry.models.span import CostSpan, SpanCorrection, costs_over_hold

__all__ = [
    "BRAKES_SNAPSHOT",
    "CACHE_RULES_SNAPSHOT",
    "Brake",
    "BrakeStop",
    "CostSpan",
    "Feedback",
    "KeyedCall",
    "QualityWeights",
    "ResponseCacheRule",
    "ScopeType",
    "SpanCorrection",
    "costs_over_hold",
]
