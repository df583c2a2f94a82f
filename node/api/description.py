"""The interface described for programs, in OpenAPI 3.1: made from the agent's own signatures and docstrings."""

from __future__ import annotations

import inspect
from typing import Any, Final

from tslg.node.agent import BlockingAgent
from tslg.node.api.methods import METHODS, parameters

_LINK: Final = {"type": "object", "required": ["/"], "properties": {"/": {"type": "string"}}, "description": "an id"}
_REFERENCE: Final = {
    "oneOf": [{"type": "string", "description": "an id's text"}, {"$ref": "#/components/schemas/Link"}]
}
_REFERENCES: Final = {"oneOf": [*_REFERENCE["oneOf"], {"type": "array", "items": _REFERENCE}]}
_BYTES: Final = {
    "type": "object",
    "required": ["/"],
    "properties": {"/": {"type": "object", "properties": {"bytes": {"type": "string", "description": "base64"}}}},
}
_OBJECT: Final = {"type": "object"}
_SCHEMAS: Final = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "bytes": _BYTES,
    "Reference": _REFERENCE,
    "References": _REFERENCES,
    "Mapping[str, Any]": _OBJECT,
    "Mapping[str, int]": _OBJECT,
    "Iterable[str]": {"type": "array", "items": {"type": "string"}},
    "Iterable[Reference]": {"type": "array", "items": _REFERENCE},
    "Iterable[bytes]": {"type": "array", "items": _BYTES},
    "Iterable[Mapping[str, Any]]": {"type": "array", "items": _OBJECT},
}
_RECORD: Final = {
    "type": "object",
    "properties": {
        "record": {"$ref": "#/components/schemas/Link"},
        "kind": {"type": "string"},
        "agent": {"$ref": "#/components/schemas/Link"},
        "seq": {"type": "integer"},
        "time": {"type": "integer", "description": "ms since 1970 UTC"},
        "data": {"$ref": "#/components/schemas/Bytes"},
    },
}
_ERROR: Final = {
    "type": "object",
    "required": ["code", "detail"],
    "properties": {name: {"type": "string"} for name in ("code", "detail", "mend", "record")},
}


def describe(version: str) -> dict[str, Any]:
    """Return the OpenAPI description of the interface."""
    paths: dict[str, Any] = {
        "/openapi.json": {"get": _operation("This description; needs no token.", None, _OBJECT)},
        "/v1/status": {"get": _operation("What the node is doing.", None, _OBJECT)},
        "/metrics": {"get": _operation("Numbers in the text form of Prometheus.", None, {"type": "string"})},
        "/v1/agents": {
            "get": _operation("The agents of this node.", None, _OBJECT),
            "post": _operation("Make an agent, or return the one there is.", _of({"name": _SCHEMAS["str"]}), _OBJECT),
        },
        "/v1/engines": {"get": _operation("The engines that agents of this node admit.", None, _OBJECT)},
        "/v1/submissions": {
            "post": {
                **_operation("Hand in a stretch of an engine's log.", None, _OBJECT),
                "requestBody": {"required": True, "content": {"application/vnd.ipld.car": {}}},
            }
        },
        "/v1/stream": {
            "get": {
                **_operation("Records of logs, in order, as Server-Sent Events or a document a line.", None, _OBJECT),
                "parameters": [
                    {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
                    for name in ("kinds", "log", "from", "follow")
                ],
            }
        },
        "/v1/records/{record}": {"get": _operation("A record that is held, and its seal.", None, _OBJECT, "record")},
        "/v1/agents/{agent}/batch": {
            "post": _operation(
                "Several calls that become durable together. In arguments, {“$result”: n} stands for the record that "
                "call n made.",
                _of(
                    {
                        "calls": {
                            "type": "array",
                            "items": _of({"method": {"enum": list(METHODS)}, "arguments": _OBJECT}),
                        }
                    }
                ),
                {"type": "object", "properties": {"results": {"type": "array"}}},
                "agent",
            )
        },
    }
    for method in METHODS:
        paths[f"/v1/agents/{{agent}}/{method}"] = {"post": _method(method)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "tslg node", "version": version, "description": "Write the logs of a node's agents."},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Link": _LINK, "Bytes": _BYTES, "Record": _RECORD, "Error": _ERROR},
        },
    }


def _method(method: str) -> dict[str, Any]:
    properties, required = {}, []
    open_ended = False
    for name, parameter in parameters(method).items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            open_ended = True
            continue
        properties[name] = _schema(str(parameter.annotation))
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
    body = {"type": "object", "properties": properties, "required": required, "additionalProperties": open_ended}
    text = inspect.getdoc(getattr(BlockingAgent, method)) or ""
    result = {"blob": _OBJECT, "adopt": {"type": "null"}}.get(method, {"$ref": "#/components/schemas/Record"})
    return {"operationId": method, **_operation(text, body, result, "agent")}


def _operation(text: str, body: Any, result: Any, *in_path: str) -> dict[str, Any]:
    summary, _, more = text.partition("\n\n")
    operation: dict[str, Any] = {"summary": " ".join(summary.split()), "description": more}
    if in_path:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path
        ]
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    error = {
        "description": "why not",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    operation["responses"] = {
        "200": {
            "description": "done; what was recorded is durable",
            "content": {"application/json": {"schema": result}},
        },
        "default": error,
    }
    return operation


def _schema(annotation: str) -> Any:
    """Return the schema of an annotation as it stands in the source, such as `Reference | None`."""
    parts = [part.strip() for part in annotation.split(" | ") if part.strip() != "None"]
    return _SCHEMAS.get(parts[0], {}) if len(parts) == 1 else {}


def _of(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
