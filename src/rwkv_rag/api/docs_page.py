"""`/docs`: every address with what it takes, on one page without scripts or the network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2b2a; } code, pre { font-size: .9em; background: #f4f6f5; padding: .1em .3em; }
pre { padding: .6em; overflow: auto; } summary { cursor: pointer; } h2 { margin-top: 2rem; }
b { color: #0f766e; display: inline-block; min-width: 4.5em; }
"""
METHODS = ("get", "post", "put", "delete")

router = APIRouter(include_in_schema=False)


@router.get("/")
async def root() -> Response:
    """Redirects to the description."""
    return RedirectResponse("/docs")


@router.get("/docs")
def docs(request: Request) -> Response:
    """The page, made from the OpenAPI document."""
    return HTMLResponse(page(request.app.openapi()), headers=HEADERS)


def page(document: Mapping[str, Any]) -> str:
    """The description in HTML."""
    info = document["info"]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    sections = "".join(_sections(document))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1><p>{_text(info['description'])}</p>"
        '<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>'
        f"{sections}</html>"
    )


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    heading = ""
    for path, methods in document["paths"].items():
        for method in METHODS:
            if operation := methods.get(method):
                tag = operation.get("tags", [""])[0]
                if tag != heading:
                    heading = tag
                    yield f"<h2>{escape(tag)}</h2>"
                yield _operation(method.upper(), path, operation, document)


def _operation(
    method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]
) -> str:
    description = _text(operation.get("description", ""))
    return (
        f"<details><summary><b>{method}</b> <code>{escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</summary><p>{description}</p>"
        f"{_body(operation, document)}</details>"
    )


def _body(operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The fields of the body, and an example where there is one."""
    content = operation.get("requestBody", {}).get("content", {})
    found = ""
    for kind, media in content.items():
        schema = _resolved(media.get("schema", {}), document)
        required = schema.get("required", ())
        fields = "".join(
            f"<li><code>{escape(name)}</code>{' (required)' if name in required else ''} "
            f"{escape(field.get('description', ''))}</li>"
            for name, field in schema.get("properties", {}).items()
        )
        found += f"<p><code>{escape(kind)}</code></p><ul>{fields}</ul>"
        for example in schema.get("examples", ()):
            shown = json.dumps(example, ensure_ascii=False, indent=2)
            found += f"<pre>{escape(shown)}</pre>"
    return found


def _resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    known: Mapping[str, Any] = document.get("components", {}).get("schemas", {})
    found: Mapping[str, Any] = known.get(name, {}) if name else schema
    return found


def _text(markdown: str) -> str:
    """Paragraphs, and code between backticks."""
    pieces = escape(markdown).replace("\n\n", "</p><p>").split("`")
    return "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(pieces))
