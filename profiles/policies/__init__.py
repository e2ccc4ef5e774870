"""Policies, pure: their forms, what they say, what they allow and why, and that in words. No Django in here."""

from profiles.policies.decisions import Decision, RolePolicies, by_pool, decide, decide_request, may, reachable_pools
from profiles.policies.forms import (
    Action,
    Effect,
    HttpAction,
    Policy,
    PolicyError,
    SemanticAction,
    normalise,
    parse,
)
from profiles.policies.statements import Operation, grants_pool_access, is_plain
from profiles.policies.words import describe

__all__ = [
    "Action",
    "Decision",
    "Effect",
    "HttpAction",
    "Operation",
    "Policy",
    "PolicyError",
    "RolePolicies",
    "SemanticAction",
    "by_pool",
    "decide",
    "decide_request",
    "describe",
    "grants_pool_access",
    "is_plain",
    "may",
    "normalise",
    "parse",
    "reachable_pools",
]
