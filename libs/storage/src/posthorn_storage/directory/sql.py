"""The statements of the directory. Constants only."""

from posthorn_storage.database.plans import one_plan

ADD_DOMAIN = "INSERT INTO domain (name) VALUES ($1) ON CONFLICT (name) DO NOTHING"

DOMAIN = "SELECT id FROM domain WHERE name = $1"

DOMAINS = "SELECT name FROM domain ORDER BY name"

UNKNOWN_DOMAIN = """
SELECT name FROM unnest($1::text[]) AS wanted (name)
WHERE NOT EXISTS (SELECT 1 FROM domain WHERE domain.name = wanted.name) LIMIT 1
"""

TAKE_IDS = "SELECT nextval(pg_get_serial_sequence('account', 'id')) AS id FROM generate_series(1, $1::int)"

# An address is either an account's or an alias, never both.
ADD_ACCOUNTS = """
INSERT INTO account (id, domain_id, address, display_name, quota, shard, region)
OVERRIDING SYSTEM VALUE
SELECT new.id, domain.id, new.address, $3, $4, new.shard, new.region
FROM unnest($1::text[], $2::text[], $5::bigint[], $6::smallint[], $7::text[])
    AS new (address, domain, id, shard, region)
JOIN domain ON domain.name = new.domain
WHERE NOT EXISTS (SELECT 1 FROM alias WHERE alias.address = new.address)
    AND NOT EXISTS (SELECT 1 FROM distribution d WHERE d.address = new.address AND d.kind <> 'forward')
ORDER BY new.address
ON CONFLICT (address) DO NOTHING
RETURNING id
"""

ADD_CREDENTIALS = """
INSERT INTO credential (account_id, secret, scram, scram_at)
SELECT account.id, new.secret, new.scram, now()
FROM unnest($1::text[], $2::text[], $3::text[]) AS new (address, secret, scram)
JOIN account ON account.address = new.address
"""

SET_CREDENTIAL = """
INSERT INTO credential (account_id, secret, scram, scram_at)
SELECT id, $2, $3, now() FROM account WHERE address = $1
ON CONFLICT (account_id) DO UPDATE SET
    secret = EXCLUDED.secret, updated_at = now(), scram = EXCLUDED.scram, scram_at = now()
"""

# Of a password that was kept before there were verifiers, or by a process that does not know of them.
ADD_VERIFIER = """
UPDATE credential SET scram = $3, scram_at = updated_at
WHERE account_id = $1 AND secret = $2 AND scram_at IS DISTINCT FROM updated_at
"""

# The first process to ask decides.
FIX_NOBODY = """
INSERT INTO cluster_setting (name, value) VALUES ('nobodys_secret', to_jsonb($1::text)) ON CONFLICT (name) DO NOTHING
"""
NOBODY = "SELECT value #>> '{}' FROM cluster_setting WHERE name = 'nobodys_secret'"

ADD_ALIAS = """
INSERT INTO alias (address, account_id)
SELECT $1, $2 WHERE NOT EXISTS (SELECT 1 FROM account WHERE address = $1)
    AND NOT EXISTS (SELECT 1 FROM distribution WHERE address = $1 AND kind <> 'forward')
ON CONFLICT (address, account_id) DO UPDATE SET address = EXCLUDED.address
"""

REMOVE_ALIAS = "DELETE FROM alias WHERE address = $1 AND ($2::bigint IS NULL OR account_id = $2)"

ALIASES = """
SELECT alias.address AS alias, account.address FROM alias JOIN account ON account.id = alias.account_id
WHERE (alias.address, account.address) > ($1, $2) ORDER BY 1, 2 LIMIT $3
"""

_ACCOUNT = """
SELECT account.id, account.address, display_name, kind, quota, region, account.created_at, credential.secret,
    CASE WHEN credential.scram_at = credential.updated_at THEN credential.scram END AS scram,
    ARRAY(SELECT alias.address FROM alias WHERE alias.account_id = account.id ORDER BY alias.address) AS aliases
FROM account LEFT JOIN credential ON credential.account_id = account.id
"""

# With the app password of digest $2, if it is good for the service $3 now.
_LOGIN = _ACCOUNT.replace(
    "AS scram,",
    """AS scram,
    (SELECT app.id FROM app_password AS app WHERE app.account_id = account.id AND app.digest = $2
        AND (app.expires_at IS NULL OR app.expires_at > now())
        AND (app.services = '{}' OR $3 = ANY (app.services)) LIMIT 1) AS app_password,""",
)

LOGIN_BY_ADDRESS = _LOGIN + "WHERE account.address = $1"

LOGIN_BY_ID = _LOGIN + "WHERE account.id = $1"

BY_ADDRESS = _ACCOUNT + "WHERE account.address = $1"

BY_ID = _ACCOUNT + "WHERE account.id = ANY ($1::bigint[])"

LIST = _ACCOUNT + "WHERE account.address > $1 ORDER BY account.address LIMIT $2"

COUNT_BY_SHARD = "SELECT shard, count(*) AS count FROM account GROUP BY shard"

# `own` is the address of an alias's account when its mail is passed on: the forward stands there. What an account uses
# and may use comes along for those that live here (state 2: no longer), so that a recipient costs one question.
RESOLVE = one_plan("""
SELECT address, id, NULL AS kind, NULL::text[] AS members, NULL AS owner, NULL AS posting, NULL AS own,
    c.used_bytes AS used, c.quota AS room
FROM account LEFT JOIN account_counter c ON c.account_id = account.id AND c.state <> 2
WHERE address = ANY ($1::text[])
UNION ALL SELECT address, alias.account_id, NULL, NULL, NULL, NULL, (
    SELECT d.address FROM account a JOIN distribution d ON d.address = a.address AND d.kind = 'forward'
    WHERE a.id = alias.account_id), c.used_bytes, c.quota
FROM alias LEFT JOIN account_counter c ON c.account_id = alias.account_id AND c.state <> 2
WHERE address = ANY ($1::text[])
UNION ALL SELECT address, NULL, kind, CASE WHEN kind <> 'list' THEN ARRAY(
    SELECT member FROM distribution_member m WHERE m.address = d.address ORDER BY member) END, owner, posting, NULL,
    NULL, NULL
FROM distribution d WHERE address = ANY ($1::text[])
""")

LEAVE_DISTRIBUTIONS = """
WITH forward AS (DELETE FROM distribution WHERE address = $1 AND kind = 'forward')
DELETE FROM distribution_member WHERE member = $1 AND address <> $1
"""

LOCAL_AMONG = "SELECT name FROM domain WHERE name = ANY ($1::text[])"

MAY_SEND_AS = one_plan("""
SELECT EXISTS (SELECT 1 FROM account WHERE id = $1 AND address = ANY ($2::text[]))
    OR EXISTS (SELECT 1 FROM alias WHERE account_id = $1 AND address = ANY ($2::text[]))
    OR EXISTS (
        SELECT 1 FROM account a JOIN distribution_member m ON m.member = a.address
        JOIN distribution d ON d.address = m.address AND d.kind = 'group'
        WHERE a.id = $1 AND d.address = ANY ($2::text[]))
""")
