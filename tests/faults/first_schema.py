"""Tokens in the first released schema, by SQL alone: the code that knows that schema is another version's.

Every secret follows from its number, so that clients can send it. Each token has the event of its issue, chained and
hashed as the portal does it, so that the trail can be verified afterwards.
"""

import hashlib
import json

import psycopg

ACCOUNTS = 5_000
SEED = """
WITH RECURSIVE n(i) AS (SELECT 0::bigint UNION ALL SELECT i + 1 FROM n WHERE i < :accounts - 1),
admin AS (SELECT id FROM profiles_user WHERE username = 'admin'),
accounts AS (
    INSERT INTO profiles_user
        (username, password, kind, display_name, email, purpose, accountable_id, is_active, created_at)
    SELECT 'robot-' || i, '!', 'service', '', '', 'Runs by itself', admin.id, true, now() FROM n, admin
    RETURNING id
)
INSERT INTO profiles_roleassignment (user_id, role_id, assigned_at)
SELECT accounts.id, profiles_role.id, now() FROM accounts, profiles_role WHERE profiles_role.name = 'osmo-user';

CREATE TEMPORARY TABLE held AS
SELECT row_number() OVER (ORDER BY a.id) - 1 AS place, a.user_id, a.id AS assignment_id
FROM profiles_roleassignment a JOIN profiles_user u ON u.id = a.user_id WHERE u.username LIKE 'robot-%';
CREATE UNIQUE INDEX ON held (place);

CREATE TEMPORARY TABLE made AS
SELECT i, nextval('tokens_accesstoken_id_seq') AS id FROM generate_series(0, :tokens - 1) i;

INSERT INTO tokens_accesstoken
    (id, owner_id, name, description, created_at, issued_at, expires_at, rotations, end_reason)
SELECT made.id, held.user_id, 'job-' || i, 'The job in cell ' || i % 977, now() - interval '10 days',
    now() - interval '10 days', date_trunc('day', now(), 'UTC') + (20 + i % 300) * interval '1 day', 0, ''
FROM made JOIN held ON held.place = i % :accounts;

INSERT INTO tokens_secret (token_id, slot, digest, hint, created_at, retires_with_next)
SELECT id, 0, sha256(encode(sha256(('upgrade-' || i)::bytea), 'hex')::bytea), 'seed', now() - interval '10 days', false
FROM made;

INSERT INTO tokens_tokenrole (token_id, assignment_id)
SELECT made.id, held.assignment_id FROM made JOIN held ON held.place = i % :accounts;

INSERT INTO tokens_lastuse (token_id, at, agent) SELECT id, now() - interval '1 day', 'osmo-cli/6.2' FROM made;

DO $$
DECLARE number bigint; previous text; one record; at timestamptz; said text; digest text;
BEGIN
    SELECT id, hash INTO number, previous FROM events_event ORDER BY id DESC LIMIT 1;
    FOR one IN SELECT made.id, i, 'robot-' || i % :accounts || '/job-' || i AS label FROM made ORDER BY i LOOP
        number := number + 1;
        at := date_trunc('second', now()) - interval '10 days' + one.i * interval '1 ms';
        said := :event;
        digest := encode(sha256(said::bytea), 'hex');
        INSERT INTO events_event
            (id, at, actor, via, request_id, action, object_type, object_id, object_label, reason, changes,
             lines_digest, previous_hash, hash)
        VALUES (number, at, 'admin', 'rest', '', 'token.issued', 'accesstoken', one.id, one.label, '',
            '{"roles": ["osmo-user"]}', '', previous, digest);
        previous := digest;
    END LOOP;
END $$;
"""


def secret(number: int) -> str:
    """That of the token of that number, as servers before the portal made them: 64 hexadecimal digits."""
    return hashlib.sha256(f"upgrade-{number}".encode()).hexdigest()


def seed(database: str, tokens: int) -> None:
    """Into a database with the first schema and its first administrator."""
    told = SEED.replace(":event", _hashed()).replace(":tokens", str(tokens)).replace(":accounts", str(ACCOUNTS))
    with psycopg.connect(database) as connection:
        connection.execute("SET statement_timeout = 0")
        for statement in told.split(";\n\n"):
            connection.execute(statement.encode())
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _hashed() -> str:
    """An expression for the text that the hash of such an event is of; `verify_events` compares."""
    variables = {
        "at": """to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')""",
        "id": "number",
        "object_id": "one.id",
        "object_label": "one.label",
        "previous_hash": "previous",
    }
    values: dict[str, str | None] = {name: f"<{name}>" for name in variables}
    values |= {"actor": "admin", "via": "rest", "action": "token.issued", "object_type": "accesstoken"}
    values |= dict.fromkeys(("actor_id", "token_id", "ip")) | dict.fromkeys(
        ("request_id", "reason", "lines_digest"), ""
    )
    text = json.dumps(values | {"changes": {"roles": ["osmo-user"]}}, sort_keys=True, separators=(",", ":"))
    for name, expression in variables.items():
        quote = "" if name.endswith("id") else '"'
        text = text.replace(f'"<{name}>"', f"{quote}' || {expression} || '{quote}")
    return f"'{text}'"
