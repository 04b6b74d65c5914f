"""Streams of events as other servers hold them: one idle connection after the other, for their memory."""
