"""The mapping pages in docs/mapping, printed from the tables."""

from __future__ import annotations

from collections.abc import Mapping

from adapter.tables.model import CodeTable, Row, Table, Tables


def pages(tables: Tables, newer: Tables) -> dict[str, str]:
    """The mapping pages in Markdown by file name: one per table, one for all codes. ``newer``: the tables of R5."""
    pairs = [
        (table, others[table.name])
        for mine, others in ((tables.records, newer.records), (tables.parties, newer.parties))
        for table in mine.values()
    ]
    found = {f"{_file_name(table.name)}.md": _page(table, other) for table, other in pairs}
    return found | {"codes.md": _codes_page(tables.codes)}


def _file_name(name: str) -> str:
    return "".join(f"-{sign.lower()}" if sign.isupper() else sign for sign in name).lstrip("-")


def _page(table: Table, newer: Table) -> str:
    lines = [
        f"# {table.title}",
        "",
        f"Generated from the mapping tables by `koord tables`. Record `{table.name}`; resources: {', '.join(f'`{r.name}`' for r in table.roles)}.",
        "",
        "| record field | FHIR path | codes | category | source | why |",
        "|---|---|---|---|---|---|",
    ]
    in_r5 = {row.id: row for row in newer.rows}
    for row in table.rows:
        field = f"`{row.field_text}`" if row.field else ("fixed" if row.fixed is not None else f"link to `{row.to}`")
        places, codes = _places(row), _codes(row)
        other = in_r5.get(row.id)
        if other is None:
            places += "<br>not in R5"
        elif (_places(other), _codes(other)) != (places, codes):
            places += f"<br>R5: {_places(other)}" + (", the day" if other.convert else "")
            codes += f"<br>R5: {_codes(other)}" if _codes(other) != codes else ""
        why = row.why + (" (only for the actor it names)" if row.audience else "")
        lines.append(f"| {field} | {places} | {codes} | {row.category} | {row.source} | {why.strip()} |")
    return "\n".join(lines) + "\n"


def _places(row: Row) -> str:
    return "<br>".join(f"`{path}`" for path in (row.path.text, *(also.path.text for also in row.also)))


def _codes(row: Row) -> str:
    return row.codes.name if row.codes else (f"party `{row.party}`" if row.party else "")


def _codes_page(codes: Mapping[str, CodeTable]) -> str:
    lines = ["# Codes", "", "Generated from `mappings/codes/` by `koord tables`.", ""]
    for table in codes.values():
        lines += [f"## {table.name}", "", f"{table.title}. System: {table.systems[0] or 'each code is a URI'}", ""]
        if table.systems[1:]:
            lines += [f"Also read: {', '.join(table.systems[1:])}", ""]
        if table.rows:
            lines += ["| in records | code | also read | source |", "|---|---|---|---|"]
            lines += [
                f"| {r['key']} | {r['code']} | {', '.join(r.get('accept', ()))} | {r['source']} |" for r in table.rows
            ]
        else:
            lines.append("Every code of the system.")
        lines.append("")
    return "\n".join(lines)
