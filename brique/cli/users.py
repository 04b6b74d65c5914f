"""`brique users`: accounts from the command line, for when nobody can sign in."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from brique.app import accounts_of
from brique.cli.options import DATA

_ROLE = click.Choice(["read", "write", "admin"])


@click.group()
def users() -> None:
    """List and change accounts."""


@users.command("list")
@DATA
def list_users(data: Path) -> None:
    """List the accounts."""
    with closing(accounts_of(data)) as accounts:
        for person in accounts.list_users():
            shut = "disabled" if person.disabled else ""
            click.echo(f"{person.name:<24} {person.role:<6} {shut:<8} {person.email}".rstrip())


@users.command()
@DATA
@click.argument("name")
@click.option("--role", type=_ROLE, default="read", show_default=True)
@click.option("--email", default="", metavar="ADDRESS", help="Where mails to this person go.")
@click.password_option()
def add(data: Path, name: str, role: str, email: str, password: str) -> None:
    """Add an account."""
    with closing(accounts_of(data)) as accounts:
        accounts.create_user(name, password, role)  # type: ignore[arg-type]  # click has checked the choice
        if email:
            accounts.set_email(name, email)
    click.echo(f"{name} may {role}.")


@users.command()
@DATA
@click.argument("name")
@click.password_option()
def password(data: Path, name: str, password: str) -> None:
    """Set an account's password; its sessions end."""
    with closing(accounts_of(data)) as accounts:
        accounts.set_password(name, password)
    click.echo(f"{name} has a new password.")


@users.command()
@DATA
@click.argument("name")
@click.argument("role", type=_ROLE)
def role(data: Path, name: str, role: str) -> None:
    """Set an account's role."""
    with closing(accounts_of(data)) as accounts:
        accounts.set_role(name, role)  # type: ignore[arg-type]  # click has checked the choice
    click.echo(f"{name} may {role}.")


@users.command()
@DATA
@click.argument("name")
@click.argument("address", default="")
def email(data: Path, name: str, address: str) -> None:
    """Set where mails to an account go; without ADDRESS nowhere."""
    with closing(accounts_of(data)) as accounts:
        accounts.set_email(name, address)
    click.echo(f"Mails to {name} go to {address}." if address else f"{name} gets no mails.")
