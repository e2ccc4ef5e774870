from tokens.management.changing import ChangingCommand
from tokens.models.bulk_operation import Action


class Command(ChangingCommand):
    help = (
        "Revokes all tokens that match every filter given: they stop working at once and for good, and their names "
        "are free again. How many is printed on stdout. Exit code 2: none matched, or the set is another one than "
        "expected, and nothing was changed."
    )
    action, verb, past, present = Action.REVOKE, "revoke", "Revoked", "Revoking"
