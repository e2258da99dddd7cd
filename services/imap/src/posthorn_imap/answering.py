"""From a command to its tagged response: whatever goes wrong on the way is one."""

import uuid
from typing import TYPE_CHECKING

from posthorn_imap.access import reassess
from posthorn_imap.commands.table import perform
from posthorn_imap.errors import answer_to, answer_to_bug
from posthorn_imap.protocol.commands import Request
from posthorn_imap.protocol.cursor import SyntaxProblem, Unsupported
from posthorn_imap.protocol.responses import Answer, bad, bye, no
from posthorn_model.errors import PosthornError
from posthorn_node.stream.connection import ConnectionLost

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def answer_of(session: "Session", request: Request) -> Answer:
    """Perform a command that the state allows. Raises ConnectionLost alone."""
    try:
        await reassess(session)
        if session.selection is not None and session.selection.lost is not None:
            session.end(session.selection.lost)
            return no("The selected mailbox is lost")
        return await perform(session, request.command)
    except SyntaxProblem as problem:
        return bad(f"{request.verb}: {problem}")
    except Unsupported as problem:
        return no(problem.text, problem.code)
    except PosthornError as error:
        session.log.info("refused", verb=request.verb, reason=error.public, **error.fields)
        return answer_to(error)
    except TimeoutError:
        session.end(bye("Timed out waiting for you"))
        return no("Timed out")
    except ConnectionLost:
        raise
    except Exception:
        reference = uuid.uuid4().hex[:12]
        session.parts.figures.bugs.inc()
        session.log.exception("internal error", verb=request.verb, reference=reference)
        return answer_to_bug(reference)
