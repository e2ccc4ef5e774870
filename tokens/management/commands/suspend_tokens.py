from tokens.management.changing import ChangingCommand
from tokens.models.bulk_operation import Action


class Command(ChangingCommand):
    help = (
        "Suspends all live tokens that match every filter given: they stop working until somebody resumes them. How "
        "many is printed on stdout. Exit code 2: none matched, or the set is another one than expected, and nothing "
        "was changed."
    )
    action, verb, past, present = Action.SUSPEND, "suspend", "Suspended", "Suspending"
