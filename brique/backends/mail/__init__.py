"""Mail: written from templates when a command is given, handed to an SMTP server by replay."""

from brique.backends.mail.backend import MailBackend
from brique.backends.mail.letters import TemplateLetters

__all__ = ["MailBackend", "TemplateLetters"]
