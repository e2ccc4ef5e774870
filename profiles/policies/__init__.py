"""Policies, pure: their forms, what they say, what they allow and why, and that in words. No Django in here."""

from profiles.policies.decisions import (
    Decision,
    RolePolicies,
    Says,
    about_pools,
    by_pool,
    decide,
    decide_request,
    may,
    reachable_pools,
)
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
from profiles.policies.statements import (
    WAYS,
    Operation,
    Way,
    beyond_plain,
    grants_pool_access,
    is_plain,
    pool_policies,
)
from profiles.policies.words import describe

__all__ = [
    "WAYS",
    "Action",
    "Decision",
    "Effect",
    "HttpAction",
    "Operation",
    "Policy",
    "PolicyError",
    "RolePolicies",
    "Says",
    "SemanticAction",
    "Way",
    "about_pools",
    "beyond_plain",
    "by_pool",
    "decide",
    "decide_request",
    "describe",
    "grants_pool_access",
    "is_plain",
    "may",
    "normalise",
    "parse",
    "pool_policies",
    "reachable_pools",
]
