"""What must always be true of an account's history: modseqs, UIDs, the change log, and what others may do.

Statements as in posthorn_storage.check.rules.
"""

from typing import Final

from posthorn_storage.check.rules import Rule

HISTORY_RULES: Final = (
    Rule(
        "destroyed-returned",
        "the change log tells that something was destroyed which is there (design law 4)",
        """
        SELECT l.account_id, l.kind, l.object_id AS object, l.modseq
        FROM change_log l JOIN account_counter c ON c.account_id = l.account_id
        WHERE l.account_id = ANY ($1) AND l.op = 3 AND l.modseq > c.horizon AND (
            l.kind = 1 AND EXISTS (SELECT FROM mailbox m WHERE m.account_id = l.account_id AND m.id = l.object_id)
            OR l.kind = 2 AND EXISTS (SELECT FROM message m WHERE m.account_id = l.account_id AND m.id = l.object_id)
            OR l.kind IN (6, 8, 21)
                AND EXISTS (SELECT FROM collection o WHERE o.account_id = l.account_id AND o.id = l.object_id)
            OR l.kind IN (7, 9, 22)
                AND EXISTS (SELECT FROM item i WHERE i.account_id = l.account_id AND i.id = l.object_id))
        """,
    ),
    Rule(
        "uid-returned",
        "a UID that vanished from a mailbox is there again (design law 4)",
        """
        SELECT l.account_id, l.container_id AS mailbox, l.uid, l.modseq FROM change_log l
        JOIN mailbox_message b ON b.account_id = l.account_id AND b.mailbox_id = l.container_id AND b.uid = l.uid
        WHERE l.account_id = ANY ($1) AND l.kind = 20
        """,
    ),
    Rule(
        "modseq-shared",
        "messages share a modseq, so a list of changes could be cut between them (design law 4)",
        """
        SELECT b.account_id, b.modseq, count(DISTINCT b.message_id) AS messages, min(b.message_id) AS first
        FROM mailbox_message b WHERE b.account_id = ANY ($1)
        GROUP BY b.account_id, b.modseq HAVING count(DISTINCT b.message_id) > 1
        """,
    ),
    # The release before told of a moved message at the modseq at which it left its place.
    Rule(
        "untold-entry",
        "a message changed after the horizon of the change log, which does not tell of it (law 4)",
        """
        SELECT b.account_id, b.mailbox_id AS mailbox, b.uid, b.message_id AS message, b.modseq
        FROM mailbox_message b JOIN account_counter c ON c.account_id = b.account_id
        WHERE b.account_id = ANY ($1) AND b.modseq > c.horizon AND NOT EXISTS (
            SELECT FROM change_log l WHERE l.account_id = b.account_id AND l.kind = 2 AND l.modseq = b.modseq
                AND l.object_id = b.message_id)
        AND NOT EXISTS (
            SELECT FROM change_log l WHERE l.account_id = b.account_id AND l.kind = 20 AND l.modseq < b.modseq
                AND l.modseq > c.horizon AND l.object_id = b.message_id)
        """,
    ),
    Rule(
        "untold-item",
        "an item changed after the horizon of the change log, which does not tell of it (law 4)",
        """
        SELECT i.account_id, i.collection_id AS collection, i.id AS item, i.modseq
        FROM item i JOIN account_counter c ON c.account_id = i.account_id
        WHERE i.account_id = ANY ($1) AND i.modseq > c.horizon AND NOT EXISTS (
            SELECT FROM change_log l WHERE l.account_id = i.account_id AND l.kind IN (7, 9, 22)
                AND l.modseq = i.modseq AND l.object_id = i.id)
        """,
    ),
    Rule(
        "no-inbox",
        "an account has no inbox, so nothing can be delivered to it",
        """
        SELECT c.account_id FROM account_counter c WHERE c.account_id = ANY ($1) AND c.state = 0 AND NOT EXISTS (
            SELECT FROM mailbox m WHERE m.account_id = c.account_id AND m.role = 'inbox')
        """,
    ),
    Rule(
        "right-without-mailbox",
        "somebody has rights on a mailbox that is not there",
        """
        SELECT r.account_id, r.mailbox_id AS mailbox, r.grantee_id AS grantee FROM mailbox_right r
        WHERE r.account_id = ANY ($1) AND NOT EXISTS (
            SELECT FROM mailbox m WHERE m.account_id = r.account_id AND m.id = r.mailbox_id)
        """,
    ),
)

HOME_RULES: Final = (
    Rule(
        "share-not-found",
        "somebody has rights on a mailbox and cannot find it",
        """
        SELECT r.account_id, r.mailbox_id AS mailbox, r.grantee_id AS grantee FROM mailbox_right r
        WHERE r.account_id = ANY ($1) AND NOT r.negative AND NOT EXISTS (
            SELECT FROM share s WHERE s.grantee_id = r.grantee_id AND s.owner_id = r.account_id)
        """,
    ),
    Rule(
        "nobodys-rows",
        "an account has rows, but the directory does not know it",
        """
        SELECT c.account_id FROM account_counter c WHERE c.account_id = ANY ($1) AND c.state <> 2 AND NOT EXISTS (
            SELECT FROM account a WHERE a.id = c.account_id)
        """,
        "nobody can log in to it or send to it: restore the directory's row from a backup, or remove its rows",
    ),
)
"""Of accounts whose rows are in the directory's own database."""
