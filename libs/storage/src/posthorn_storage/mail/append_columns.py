"""What is to be stored, as the arrays of posthorn_storage.mail.append_sql.WRITE.

Column by column: that takes a fraction of making a row of each message and turning the rows into arrays.
"""

from collections.abc import Container, Iterable, Sequence

from posthorn_mail_format.search_texts import clean, search_texts
from posthorn_model.mail import PreparedBlob
from posthorn_storage.mail import seen, threads
from posthorn_storage.mail.journal import columns_of
from posthorn_storage.mail.planned import Planned


def message_columns(planned: Sequence[Planned], remembered: Container[seen.Key]) -> list[Sequence[object]]:
    """Arrays 1 to 32 of WRITE: messages, their searched texts and first mailboxes, keys of deliveries not yet there."""
    new = [one.new for one in planned]
    summaries = [one.summary for one in new]
    texts = [summary.texts or search_texts(summary) for summary in summaries]
    return [
        [one.account for one in new],
        [one.id for one in planned],
        [one.thread for one in planned],
        [one.blob.key for one in new],
        [summary.size for summary in summaries],
        [one.received_at for one in new],
        [summary.sent_at for summary in summaries],
        [one.modseq for one in planned],
        [summary.has_attachment for summary in summaries],
        [None if summary.message_id is None else clean(summary.message_id) for summary in summaries],
        [clean(summary.subject) for summary in summaries],
        [clean(summary.base_subject) for summary in summaries],
        [clean(summary.preview) for summary in summaries],
        [summary.envelope for summary in summaries],
        [summary.body_structure for summary in summaries],
        [summary.body for summary in summaries],
        [summary.structure for summary in summaries],
        [summary.listing for summary in summaries],
        [summary.headers for summary in summaries],
        *zip(*texts, strict=True),
        [one.places[0].id for one in planned],
        [one.uids[0] for one in planned],
        [int(one.flags.system) for one in new],
        [" ".join(sorted(one.flags.keywords)) for one in new],
        _fresh((one.keys.delivery for one in planned), remembered),
        _fresh((one.keys.digest for one in planned), remembered),
    ]


def _fresh(keys: Iterable[seen.Key | None], remembered: Container[seen.Key]) -> list[bytes | None]:
    return [None if key is None or key in remembered else key[1] for key in keys]


def place_columns(planned: Sequence[Planned]) -> list[list[object]]:
    """Arrays 33 to 35 of WRITE: further rows of mailbox_message."""
    rows = [
        (one.id, place.id, uid)
        for one in planned
        if len(one.places) > 1
        for place, uid in list(zip(one.places, one.uids, strict=True))[1:]
    ]
    return columns_of(rows, 3)


def seen_columns(planned: Sequence[Planned], remembered: Container[seen.Key]) -> list[list[object]]:
    """Arrays 36 to 38 of WRITE: rows of delivery_seen that stand for earlier messages."""
    rows = [(*key, one.id) for one in planned for key in one.keys.seen if key in remembered] if remembered else []
    return columns_of(rows, 3)


def key_columns(planned: Sequence[Planned], threaded: Container[threads.Key]) -> list[list[object]]:
    """Arrays 39 to 41 of WRITE: the rows of thread_key that are not there yet."""
    rows = {key: one.thread for one in planned for key in one.keys.thread if key not in threaded}
    return [[account for account, _ in rows], [key for _, key in rows], list(rows.values())]


def blob_columns(blobs: Sequence[PreparedBlob]) -> list[list[object]]:
    """Arrays 42 to 45 of WRITE: blobs to store or to lock."""
    return [
        [blob.key for blob in blobs],
        [blob.size for blob in blobs],
        [blob.encoding for blob in blobs],
        [blob.inline for blob in blobs],
    ]
