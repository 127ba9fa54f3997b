"""Swagger UI at /docs, from the installed package: it works without internet, and under a strict content policy."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from app.api.openapi import TITLE
from app.core.errors import NotFound

ONE_DAY: Final = {"cache-control": "public, max-age=86400"}
_PACKAGE: Final = Path(str(files("fastapi_swagger"))) / "resources"
_OWN: Final = Path(__file__).parent / "static"
ASSETS: Final = {
    "swagger-ui-bundle.js": (_PACKAGE / "swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": (_PACKAGE / "swagger-ui.css", "text/css"),
    "favicon.png": (_PACKAGE / "favicon-32x32.png", "image/png"),
    "start.js": (_OWN / "start.js", "text/javascript"),
    "start.css": (_OWN / "start.css", "text/css"),
}
PAGE: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE} API</title>
<link rel="icon" type="image/png" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/start.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The same description as JSON: <a href="openapi.json">openapi.json</a></noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
router = APIRouter(include_in_schema=False)


@router.get("/")
async def root() -> Response:
    """Lead people to the documentation."""
    return RedirectResponse("docs")


@router.get("/docs")
async def docs_page() -> Response:
    """Return the page that loads Swagger UI."""
    return HTMLResponse(PAGE)


@router.get("/docs/{asset}")
async def docs_asset(asset: str) -> Response:
    """Return a file of that page."""
    if asset not in ASSETS:
        raise NotFound(f"The documentation has no file {asset[:40]}.")
    path, kind = ASSETS[asset]
    return FileResponse(path, media_type=kind, headers=ONE_DAY)
