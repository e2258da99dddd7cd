"""The composition root of smtp-in: everything is built and handed in here, top to bottom."""

import asyncio

from posthorn_bus import Bus, open_bus
from posthorn_model.errors import PosthornError
from posthorn_node.membership import Membership
from posthorn_node.run import Node
from posthorn_storage import Storage

from posthorn_smtp_in.figures import Figures
from posthorn_smtp_in.limits import Door
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.reception_desk import ReceptionDesk
from posthorn_smtp_in.settings import SmtpInSettings


async def build(node: Node) -> "SmtpIn":
    raise SystemExit
