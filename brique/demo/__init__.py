"""The demo ERP: a trading house in Dakar on an old schema, as a PostgreSQL that can be stopped, frozen and killed."""

from brique.demo.colleague import Colleague, Edit
from brique.demo.control import ACTIONS, Demo, Panel
from brique.demo.data import LINES, SEED, Plan
from brique.demo.load import STEPS, Made, Progress, load_postgres, make_sqlite
from brique.demo.server import DemoServer, State

__all__ = [
    "ACTIONS",
    "LINES",
    "SEED",
    "STEPS",
    "Colleague",
    "Demo",
    "DemoServer",
    "Edit",
    "Made",
    "Panel",
    "Plan",
    "Progress",
    "State",
    "load_postgres",
    "make_sqlite",
]
