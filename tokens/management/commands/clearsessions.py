from typing import Any

from django.contrib.sessions.management.commands import clearsessions

from tokens.models import RefreshToken, SignInRequest


class Command(clearsessions.Command):
    """Django's, for browser sessions; and for terminals, whose sign-ins stay as records, without refresh tokens."""

    help = "Forgets what is over of browser sessions and of terminal sign-ins."

    def handle(self, **options: Any) -> None:
        super().handle(**options)
        SignInRequest.objects.drop_old()
        RefreshToken.objects.drop_dead()
