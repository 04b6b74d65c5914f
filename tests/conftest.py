"""Fixtures for every room."""

pytest_plugins = ["tests.postgres", "tests.mariadb", "tests.mysql", "tests.mongodb", "tests.redis", "tests.couchdb"]
