"""The statements of the groupware store."""

# ruff: noqa: S608  put together from the fixed pieces of this module alone

_COLLECTION = "id, kind, name, display_name, description, color, properties, modseq"
_ITEM = "id, name, uid, etag, content_type, component, starts_at, ends_at, modseq, modified_at"
_WHOLE = f"{_ITEM}, content"

COLLECTIONS = f"""
SELECT {_COLLECTION} FROM collection WHERE account_id = $1 AND ($2::text IS NULL OR kind = $2) ORDER BY kind, name
"""
BY_NAME = f"SELECT {_COLLECTION} FROM collection WHERE account_id = $1 AND kind = $2 AND name = $3"
BY_ID = f"SELECT {_COLLECTION} FROM collection WHERE account_id = $1 AND id = $2"
COUNT = "SELECT count(*) FROM collection WHERE account_id = $1"
CREATE = f"""
INSERT INTO collection (account_id, kind, name, display_name, description, color, properties, modseq)
VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8)
RETURNING {_COLLECTION}
"""
UPDATE = f"""
UPDATE collection
SET name = $3, display_name = $4, description = $5, color = $6, properties = $7::jsonb, modseq = $8
WHERE account_id = $1 AND id = $2
RETURNING {_COLLECTION}
"""
DELETE = "DELETE FROM collection WHERE account_id = $1 AND id = $2"
TOUCH = "UPDATE collection SET modseq = $3 WHERE account_id = $1 AND id = ANY ($2::bigint[])"

ITEM = f"SELECT {_WHOLE} FROM item WHERE account_id = $1 AND collection_id = $2 AND name = $3"
PUT = f"""
INSERT INTO item (account_id, collection_id, name, uid, etag, content_type, component, starts_at, ends_at, modseq,
                  modified_at, content)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp(), $11)
ON CONFLICT (account_id, collection_id, name) DO UPDATE
SET uid = EXCLUDED.uid, etag = EXCLUDED.etag, content_type = EXCLUDED.content_type, component = EXCLUDED.component,
    starts_at = EXCLUDED.starts_at, ends_at = EXCLUDED.ends_at, modseq = EXCLUDED.modseq,
    modified_at = EXCLUDED.modified_at, content = EXCLUDED.content
RETURNING {_WHOLE}
"""
DELETE_ITEM = "DELETE FROM item WHERE account_id = $1 AND collection_id = $2 AND name = $3"
DELETE_ITEMS = "DELETE FROM item WHERE account_id = $1 AND collection_id = $2 RETURNING id, name, content"
MOVE = f"""
UPDATE item SET collection_id = $4, name = $5, modseq = $6
WHERE account_id = $1 AND collection_id = $2 AND name = $3
RETURNING {_WHOLE}
"""
COPY = f"""
INSERT INTO item (account_id, collection_id, name, uid, etag, content_type, component, starts_at, ends_at, modseq,
                  modified_at, content)
SELECT account_id, $4, $5, uid, etag, content_type, component, starts_at, ends_at, $6, clock_timestamp(), content
FROM item WHERE account_id = $1 AND collection_id = $2 AND name = $3
RETURNING {_WHOLE}
"""
REMOVED = """
SELECT DISTINCT l.name FROM change_log l
WHERE l.account_id = $1 AND l.container_id = $2 AND l.modseq > $3 AND l.name IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM item i WHERE i.account_id = l.account_id AND i.collection_id = l.container_id AND i.name = l.name)
ORDER BY l.name
"""
_FILTERED = """
FROM item
WHERE account_id = $1 AND collection_id = $2
  AND ($3::text[] IS NULL OR name = ANY ($3)) AND modseq > $4::bigint AND ($5::text IS NULL OR component = $5)
  AND ($6::timestamptz IS NULL OR ends_at IS NULL OR ends_at >= $6)
  AND ($7::timestamptz IS NULL OR starts_at IS NULL OR starts_at < $7)
ORDER BY name
LIMIT $8::bigint
"""
_WITH_CONTENT = f"SELECT {_WHOLE} {_FILTERED}"
_WITHOUT_CONTENT = f"SELECT {_ITEM}, ''::bytea AS content {_FILTERED}"


def items(*, with_content: bool) -> str:
    """Items that pass filters: $3 names, $4 changed after, $5 component, $6 and $7 range of time, $8 limit."""
    return _WITH_CONTENT if with_content else _WITHOUT_CONTENT
