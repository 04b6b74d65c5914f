from __future__ import annotations

import rows
from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/json/<int:key>")
def one(key: int) -> Response:
    return jsonify(rows.one(key))


@app.get("/page/<int:start>")
def page(start: int) -> str:
    return rows.page(start)


@app.get("/hello")
def hello() -> Response:
    return jsonify(message="Hello, World!")
