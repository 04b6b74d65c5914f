"""Carrying brique and its data elsewhere: backups that are checked, and bundles that install without a network."""

from brique.deploy.archive import BackupReport, BadBackup, FileRecord
from brique.deploy.backup import backup
from brique.deploy.bundle import Bundle, BundledWheel, NoWheel, bundle
from brique.deploy.restore import restore, verify

__all__ = [
    "BackupReport",
    "BadBackup",
    "Bundle",
    "BundledWheel",
    "FileRecord",
    "NoWheel",
    "backup",
    "bundle",
    "restore",
    "verify",
]
