"""What POST /label takes and gives, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

from models.labels import BANDS, GENDERS, LABELS, MASKS
from pipeline.prediction.label_tables import BAND_COLUMNS, LABEL_COLUMNS
from pipeline.prediction.tables import MASK_COLUMNS
from pipeline.serving.limits import Limits

SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}


def description(limits: Limits) -> dict[str, Any]:
    """The document at /openapi.json."""
    label = {
        "type": "object",
        "properties": {
            "label": {"type": "integer", "minimum": 0, "maximum": LABELS - 1},
            "mask": {"enum": list(MASKS)},
            "gender": {"enum": list(GENDERS)},
            "band": {"enum": list(BANDS)},
            **dict.fromkeys((*MASK_COLUMNS, "gender_female", *BAND_COLUMNS, *LABEL_COLUMNS), SHARE),
            "age_years": {"type": ["number", "null"], "description": "As predicted; bands go by the run's thresholds."},
        },
    }
    number = {"type": "number"}
    face = {
        "allOf": [
            {"$ref": "#/components/schemas/Label"},
            {
                "type": "object",
                "required": ["face", "box_x", "box_y", "box_w", "box_h"],
                "properties": {
                    "face": {"type": "integer", "description": "0 is the one that counts as the photo's."},
                    **dict.fromkeys(("box_x", "box_y", "box_w", "box_h", "score"), number),
                },
            },
        ]
    }
    photo = {
        "oneOf": [
            {
                "allOf": [
                    {"$ref": "#/components/schemas/Label"},
                    {
                        "type": "object",
                        "properties": {
                            "photo": {"type": "string"},
                            "cut_short": {"type": "boolean", "description": "The file ends too early."},
                            "faces": {"type": "array", "items": {"$ref": "#/components/schemas/Face"}},
                            "faces_left_out": {"type": "integer", "description": "Smaller ones, not labelled."},
                        },
                        "required": ["photo", "label"],
                    },
                ]
            },
            {"$ref": "#/components/schemas/Unlabelled"},
        ]
    }
    unlabelled = {
        "type": "object",
        "properties": {"photo": {"type": "string"}, "error": {"type": "string"}},
        "required": ["photo", "error"],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "face18", "version": "1", "description": "Labels for photos of people."},
        "paths": {"/label": {"post": _label(limits)}, "/health": {"get": _get("Whether it works.")}}
        | {"/metrics": {"get": _get("Counts, for Prometheus.")}, "/about": {"get": _get("The run and the limits.")}},
        "components": {"schemas": {"Label": label, "Face": face, "Photo": photo, "Unlabelled": unlabelled}},
    }


def _get(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": summary}}}


def _label(limits: Limits) -> dict[str, Any]:
    photos = {
        "type": "object",
        "required": ["photos"],
        "properties": {"photos": {"type": "array", "items": {"$ref": "#/components/schemas/Photo"}}},
    }
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    form = {
        "type": "object",
        "properties": {"photo": {"type": "array", "items": {"type": "string", "contentMediaType": "image/*"}}},
    }
    refusals = {
        "400": "No photo in the request.",
        "403": "Asked by another site's page.",
        "408": f"Not whole after {limits.seconds:g} seconds.",
        "413": f"More than {limits.megabytes:g} megabytes or {limits.photos} photos.",
        "415": "Neither a form nor a photo.",
        "421": "Asked under another name.",
        "500": "A fault of the server.",
        "503": "Too much at once; again after Retry-After seconds.",
    }
    return {
        "summary": "Labels of photos, in their order.",
        "parameters": [
            {
                "name": "name",
                "in": "query",
                "schema": {"type": "string"},
                "description": "Of a photo that is the body.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": {"type": "string", "contentMediaType": "image/*"}},
                "application/octet-stream": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": {"description": "Labels.", "content": {"application/json": {"schema": photos}}},
            "422": {"description": "None has a label.", "content": {"application/json": {"schema": photos}}},
            **{
                status: {"description": told, "content": {"application/json": {"schema": error}}}
                for status, told in refusals.items()
            },
        },
    }
