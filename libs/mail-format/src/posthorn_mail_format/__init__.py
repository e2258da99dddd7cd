"""RFC 5322 and MIME bytes to structure, and structure to the forms that IMAP, JMAP and reports need."""

from posthorn_mail_format.part import Part
from posthorn_mail_format.scan import scan
from posthorn_mail_format.summary import summarize

__all__ = ["Part", "scan", "summarize"]
