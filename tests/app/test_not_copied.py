"""Before its first copy is there, nothing is said about a table's rows: not that one of them is missing either."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from brique import Intranet, Table, WriteDb, key
from tests.app.site import running


def make_intranet(file: Path) -> Intranet:
    app = Intranet("Garage")
    garage = app.backend("garage", str(file), refresh="1s")

    @app.table
    class Car(Table, backend=garage, source="car"):
        plate: str = key()
        state: str

    @app.command()
    def check(db: WriteDb, car: Car) -> None:
        db.update(car, state="done")

    return app


def test_a_row_of_a_table_that_is_not_copied_yet_is_not_called_missing(tmp_path: Path) -> None:
    file = tmp_path / "garage.db"
    with closing(apsw.Connection(str(file))) as neighbour:
        neighbour.execute("CREATE TABLE car (plate TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL)")
        neighbour.execute("INSERT INTO car VALUES ('DK-1', 'waiting')")
        neighbour.execute("BEGIN EXCLUSIVE")
        with running(make_intranet(file), tmp_path / "data") as site:
            asked = [
                site.ask("POST", "/api/commands/check", json={"car": "DK-1"}),
                site.ask("PATCH", "/api/tables/car/DK-1", json={"state": "done"}),
                site.ask("DELETE", "/api/tables/car/DK-1"),
            ]
            assert [(answer.status_code, answer.json()["code"]) for answer in asked] == [(503, "busy")] * 3
            neighbour.execute("COMMIT")
            site.loaded("car")
            assert site.ask("POST", "/api/commands/check", json={"car": "DK-1"}).is_success
            assert site.ask("POST", "/api/commands/check", json={"car": "DK-2"}).status_code == 422
            assert site.ask("PATCH", "/api/tables/car/DK-2", json={"state": "done"}).status_code == 404
