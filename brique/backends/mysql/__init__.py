"""MariaDB and MySQL by PyMySQL: rows streamed out of one snapshot, batches in as several statements at once."""

from brique.errors import MissingExtra

try:
    from brique.backends.mysql.backend import MysqlBackend
except ModuleNotFoundError as fault:
    if fault.name != "pymysql":
        raise
    raise MissingExtra(
        "mysql:// and mariadb:// need the driver PyMySQL, which is not installed",
        try_this="pip install 'brique[mysql]'",
    ) from fault

__all__ = ["MysqlBackend"]
