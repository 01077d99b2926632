"""Puts a row into every table of a database, whatever revision it is at, for two sellers: what fits is read
from its own catalog."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from everystall.backup import archive

Connection = psycopg.Connection[dict[str, Any]]

TIME: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAIR: Final = ("alice", "bob")

#: Where the catalog alone does not say what fits, or what a later migration acts on. Left out where the
#: revision has no such column.
PUT: Final[dict[str, dict[str, Any]]] = {
    "connections": {"marketplace": "poshmark"},
    "invitations": {"used_at": TIME},
    "listings": {"title": "A shirt", "category": "books", "cost_cents": 450, "delete_asked_at": TIME},
    "notice_deliveries": {"what": "event"},
    "price_drops": {"percent": 10, "cents": 0},
    "publications": {
        "wanted": "ended", "put": "live", "needs_you": Jsonb({"reason": "changed_since_posted"}),
    },
}  # fmt: skip
COLUMNS = """
SELECT c.oid, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname AS table,
       a.attnum, a.attname AS column, format_type(a.atttypid, NULL) AS type, a.attnotnull AS needed,
       a.attgenerated <> '' OR a.attidentity <> '' AS made, a.attgenerated <> '' AS computed,
       pg_get_expr(d.adbin, d.adrelid) AS default,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
               AND a.attnum = ANY (i.indkey)) AS key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'everystall') AND c.relname <> 'alembic_version'
ORDER BY 2, 3
"""
REFERENCES = """
SELECT conrelid AS oid, confrelid AS other, conkey AS here, confkey AS there FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""
CHOICES = r"""
SELECT conrelid AS oid,
       regexp_match(pg_get_constraintdef(oid), '\((\w+) = ANY \(ARRAY\[''([^'']+)''') AS found
FROM pg_constraint
WHERE contype = 'c' AND connamespace IN ('public'::regnamespace, 'everystall'::regnamespace)
"""


class Schema:
    """The tables of the revision that the database is at."""

    def __init__(self, connection: Connection) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}
        names: dict[int, str] = {}
        for column in connection.execute(COLUMNS).fetchall():
            self.tables.setdefault(column["table"], []).append(column)
            names[column["oid"]] = column["table"]
        numbered = {name: {c["attnum"]: c["column"] for c in each} for name, each in self.tables.items()}
        #: table → column → (table that it points at, column there)
        self.points: dict[str, dict[str, tuple[str, str]]] = {name: {} for name in self.tables}
        for one in connection.execute(REFERENCES).fetchall():
            here, there = names[one["oid"]], names[one["other"]]
            for a, b in zip(one["here"], one["there"], strict=True):
                if here != there:
                    self.points[here].setdefault(numbered[here][a], (there, numbered[there][b]))
        found = connection.execute(CHOICES).fetchall()
        self.choices = {
            (names[one["oid"]], one["found"][0]): one["found"][1] for one in found if one["found"]
        }
        self.order = archive.in_order(
            self.tables, [(name, other) for name, each in self.points.items() for other, _ in each.values()]
        )

    def row(self, table: str, word: str, made: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """What fits this table, of the seller whose rows so far are `made`. `word` is in every text."""
        values: dict[str, Any] = {}
        for column in self.tables[table]:
            name, points = column["column"], self.points[table].get(column["column"])
            if column["made"]:
                continue
            if name in PUT.get(table, {}):
                values[name] = PUT[table][name]
            elif points is not None:
                values[name] = made[points[0]][points[1]] if points[0] in made else None
            elif name == "email" or (column["needed"] and column["default"] is None):
                values[name] = self.choices.get((table, name)) or _value(column["type"], f"{name} {word}")
        return values


def _value(kind: str, word: str) -> Any:
    return {
        "text": word, "uuid": uuid4(), "bytea": word.encode(), "jsonb": Jsonb({"is": word}), "text[]": [word],
        "boolean": True, "timestamp with time zone": TIME, "double precision": 1.5,
        "integer": 1, "bigint": 1, "date": TIME.date(), "interval": "1 day",
    }[kind]  # fmt: skip


def fill(connection: Connection, word: str, schema: Schema) -> None:
    """Two sellers of that word, and theirs in every table; only bob sold a thing twice."""
    for who in PAIR:
        made: dict[str, dict[str, Any]] = {}
        for table in schema.order:
            if table == "double_sales" and who == "alice":
                continue
            if table == "everystall.photo_store" and connection.execute(f"SELECT FROM {table}").rowcount:
                continue  # a database has one
            values = schema.row(table, f"{word} {who}", made)
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
                archive.named(table),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            )
            row = connection.execute(statement, list(values.values())).fetchone()
            assert row is not None
            made[table] = row


def rows(connection: Connection, schema: Schema) -> dict[tuple[str, Any], dict[str, Any]]:
    """All rows by table and key, without what PostgreSQL computes."""
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for table, columns in schema.tables.items():
        key = [column["column"] for column in columns if column["key"]]
        computed = {column["column"] for column in columns if column["computed"]}
        for row in connection.execute(sql.SQL("SELECT * FROM {}").format(archive.named(table))).fetchall():
            for each in computed:
                del row[each]
            found[table, tuple(row[each] for each in key)] = row
    return found
