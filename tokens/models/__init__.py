from tokens.models.access_token import AccessToken
from tokens.models.bulk_operation import BulkChunk, BulkOperation
from tokens.models.idempotency import DoneBefore
from tokens.models.last_use import LastUse
from tokens.models.notice import Notice
from tokens.models.purged_secret import PurgedSecret
from tokens.models.secret import Secret
from tokens.models.sign_in_request import SignInRequest
from tokens.models.signing_key import SigningKey
from tokens.models.terminal_sign_in import RefreshToken, TerminalSignIn
from tokens.models.token_role import TokenRole

__all__ = [
    "AccessToken",
    "BulkChunk",
    "BulkOperation",
    "DoneBefore",
    "LastUse",
    "Notice",
    "PurgedSecret",
    "RefreshToken",
    "Secret",
    "SignInRequest",
    "SigningKey",
    "TerminalSignIn",
    "TokenRole",
]
