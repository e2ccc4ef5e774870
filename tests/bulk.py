"""Many tokens at once, past the ways in: for counting queries, not for rules."""

from datetime import timedelta

from django.utils import timezone

from profiles.models import RoleAssignment, User
from tokens.models import AccessToken, LastUse, Secret, TokenRole
from tokens.secrets import digest


def many_tokens(owner: User, count: int, prefix: str = "bulk") -> list[AccessToken]:
    now = timezone.now()
    assignment = RoleAssignment.objects.effective().filter(user=owner).first()
    tokens = AccessToken._base_manager.bulk_create(
        AccessToken(
            owner=owner,
            name=f"{prefix}-{n}",
            created_at=now,
            issued_at=now,
            expires_at=now + timedelta(days=n % 300 + 1),
        )
        for n in range(count)
    )
    TokenRole._base_manager.bulk_create(TokenRole(token=token, assignment=assignment) for token in tokens)
    LastUse._base_manager.bulk_create(LastUse(token=token) for token in tokens)
    Secret._base_manager.bulk_create(
        Secret(token=token, slot=0, digest=digest(f"{prefix}-{token.pk}"), hint="0000") for token in tokens
    )
    return tokens
