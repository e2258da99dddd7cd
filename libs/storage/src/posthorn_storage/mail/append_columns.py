"""What is to be stored, as the arrays of posthorn_storage.mail.append_sql.WRITE."""

from collections.abc import Container, Sequence

from posthorn_mail_format.search_texts import clean, search_texts
from posthorn_model.mail import PreparedBlob
from posthorn_storage.mail import seen, threads
from posthorn_storage.mail.journal import columns_of
from posthorn_storage.mail.planned import Planned


def message_columns(planned: Sequence[Planned], remembered: Container[seen.Key]) -> list[list[object]]:
    """Arrays 1 to 33 of WRITE: messages, their searched texts and first mailboxes, keys of deliveries not yet there."""
    rows = []
    for one in planned:
        new, summary = one.new, one.new.summary
        texts = summary.texts or search_texts(summary)
        rows.append(
            (
                one.account,
                one.id,
                one.thread,
                one.thread_op,
                new.blob.key,
                summary.size,
                new.received_at,
                summary.sent_at,
                one.modseq,
                summary.has_attachment,
                None if summary.message_id is None else clean(summary.message_id),
                clean(summary.subject),
                clean(summary.base_subject),
                clean(summary.preview),
                summary.envelope,
                summary.body_structure,
                summary.body,
                summary.structure,
                summary.listing,
                summary.headers,
                *texts,
                one.places[0].id,
                one.uids[0],
                int(new.flags.system),
                " ".join(sorted(new.flags.keywords)),
                _unless(one.keys.delivery, remembered),
                _unless(one.keys.digest, remembered),
            )
        )
    return columns_of(rows, 33)


def _unless(key: seen.Key | None, remembered: Container[seen.Key]) -> bytes | None:
    return None if key is None or key in remembered else key[1]


def place_columns(planned: Sequence[Planned]) -> list[list[object]]:
    """Arrays 34 to 36 of WRITE: further rows of mailbox_message."""
    rows = [
        (one.id, place.id, uid)
        for one in planned
        if len(one.places) > 1
        for place, uid in list(zip(one.places, one.uids, strict=True))[1:]
    ]
    return columns_of(rows, 3)


def seen_columns(planned: Sequence[Planned], remembered: Container[seen.Key]) -> list[list[object]]:
    """Arrays 37 to 39 of WRITE: rows of delivery_seen that stand for earlier messages."""
    rows = [(*key, one.id) for one in planned for key in one.keys.seen if key in remembered] if remembered else []
    return columns_of(rows, 3)


def key_columns(planned: Sequence[Planned], threaded: Container[threads.Key]) -> list[list[object]]:
    """Arrays 40 to 42 of WRITE: the rows of thread_key that are not there yet."""
    rows = {key: one.thread for one in planned for key in one.keys.thread}
    return columns_of([(*key, thread) for key, thread in rows.items() if key not in threaded], 3)


def blob_columns(blobs: Sequence[PreparedBlob]) -> list[list[object]]:
    """Arrays 43 to 46 of WRITE: blobs to store or to lock."""
    return [
        [blob.key for blob in blobs],
        [blob.size for blob in blobs],
        [blob.encoding for blob in blobs],
        [blob.inline for blob in blobs],
    ]
