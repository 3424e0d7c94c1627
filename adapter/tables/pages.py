"""The mapping pages in docs/mapping, printed from the tables."""

from __future__ import annotations

from collections.abc import Mapping

from adapter.tables.model import CodeTable, Table, Tables


def pages(tables: Tables) -> dict[str, str]:
    """The mapping pages in Markdown by file name: one per table, one for all codes."""
    found = {
        f"{_file_name(table.name)}.md": _page(table) for table in (*tables.records.values(), *tables.parties.values())
    }
    return found | {"codes.md": _codes_page(tables.codes)}


def _file_name(name: str) -> str:
    return "".join(f"-{sign.lower()}" if sign.isupper() else sign for sign in name).lstrip("-")


def _page(table: Table) -> str:
    lines = [
        f"# {table.title}",
        "",
        f"Generated from the mapping tables by `koord tables`. Record `{table.name}`; resources: {', '.join(f'`{r.name}`' for r in table.roles)}.",
        "",
        "| record field | FHIR path | codes | category | source | why |",
        "|---|---|---|---|---|---|",
    ]
    for row in table.rows:
        field = f"`{row.field_text}`" if row.field else ("fixed" if row.fixed is not None else f"link to `{row.to}`")
        places = "<br>".join(f"`{path}`" for path in (row.path.text, *(f"{also.path.text}" for also in row.also)))
        codes = row.codes.name if row.codes else (f"party `{row.party}`" if row.party else "")
        why = row.why + (" (only for the actor it names)" if row.audience else "")
        lines.append(f"| {field} | {places} | {codes} | {row.category} | {row.source} | {why.strip()} |")
    return "\n".join(lines) + "\n"


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
