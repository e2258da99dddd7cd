"""Web Push: what clients have subscribed to, what is to be pushed to whom, and the key that pushes are signed with."""

from posthorn_storage.push.sending import DuePush, Outcome, PushTasks
from posthorn_storage.push.store import NewSubscription, PushStore, PushSubscription
from posthorn_storage.push.urls import MAX_URL, BadUrl, PushUrl, push_url
from posthorn_storage.push.vapid_key import VapidKey, is_point

__all__ = [
    "MAX_URL",
    "BadUrl",
    "DuePush",
    "NewSubscription",
    "Outcome",
    "PushStore",
    "PushSubscription",
    "PushTasks",
    "PushUrl",
    "VapidKey",
    "is_point",
    "push_url",
]
