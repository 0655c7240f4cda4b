"""The API's description before foreign eyes, and what a server answered held against it.

usage: openapi_foreign.py DOCUMENT EXCHANGES   (Debian's python3-jsonschema, openapi-specification)

EXCHANGES is a JSON array of {"operation", "status", "request", "response"}; bodies that were no JSON
are null. Prints what is wrong, a line each; the exit status is 1 then."""
import copy
import json
import re
import sys

import jsonschema

SPECIFICATION = "/usr/share/openapi-specification/schemas/v3.0/schema.json"
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")

formats = jsonschema.FormatChecker(formats=())


@formats.checks("date-time")
def is_time(value):
    return not isinstance(value, str) or bool(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value))


@formats.checks("uri")
def is_uri(value):
    return not isinstance(value, str) or bool(re.fullmatch(r"[a-z]+://\S+", value))


def walk(value, change):
    """The tree with change(dict) done to each object, from the leaves up."""
    if isinstance(value, dict):
        return change({k: walk(v, change) for k, v in value.items()})
    return [walk(v, change) for v in value] if isinstance(value, list) else value


def as_3_0(node):
    """What 3.1 says in another way than 3.0, whose schema Debian has; the structure is the same."""
    kind = node.get("type")
    if isinstance(kind, list):
        rest = [t for t in kind if t != "null"]
        node = dict(node, type=rest[0], nullable=True)
    if node == {"type": "null"}:
        node = {"nullable": True}
    if "const" in node and not isinstance(node["const"], dict):
        node = dict({k: v for k, v in node.items() if k != "const"}, enum=[node["const"]])
    return {k: v for k, v in node.items() if k != "contentEncoding"}


def downgraded(document):
    document = walk(document, as_3_0)
    document["openapi"] = "3.0.3"
    del document["info"]["summary"], document["info"]["license"]["identifier"]
    return document


def closed(node):
    """A member of an answer that is not described is a fault of the description."""
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        node.setdefault("additionalProperties", False)
    return node


class Checker:
    def __init__(self, document):
        self.document, self.faults = document, []
        self.closed = walk(copy.deepcopy(document), closed)
        self.resolver = jsonschema.RefResolver("", self.closed)
        self.operations = {}
        for path, item in document["paths"].items():
            for method in item:
                if method not in METHODS:
                    self.fault(f"{path}: {method} is no method")
                    continue
                name = item[method].get("operationId")
                if not name or name in self.operations:
                    self.fault(f"{method} {path}: no operationId of its own")
                self.operations[name] = (path, item[method])

    def fault(self, text):
        self.faults.append(text)

    def resolve(self, node):
        while "$ref" in node:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    # --- the document ---

    def structure(self):
        with open(SPECIFICATION, encoding="utf-8") as f:
            schema = json.load(f)
        kind = jsonschema.validators.validator_for(schema)
        kind.check_schema(schema)
        for e in kind(schema).iter_errors(downgraded(copy.deepcopy(self.document))):
            self.fault(f"structure: {'/'.join(map(str, e.path))}: {e.message[:300]}")
        for name, node in self.document["components"]["schemas"].items():
            try:
                jsonschema.Draft202012Validator.check_schema(node)
            except jsonschema.SchemaError as e:
                self.fault(f"schema {name}: {e.message}")

    def references(self):
        used = set()

        def look(node):
            if isinstance(node.get("$ref"), str):
                used.add(node["$ref"])
                try:
                    self.resolver.resolve(node["$ref"])
                except jsonschema.RefResolutionError:
                    self.fault(f"{node['$ref']} is nowhere")
            return node

        walk(self.document, look)
        for group, members in self.document["components"].items():
            for name in members:
                if group != "securitySchemes" and f"#/components/{group}/{name}" not in used:
                    self.fault(f"{group}/{name} is not used")

    def parameters(self):
        for name, (path, operation) in self.operations.items():
            listed = [self.resolve(p) for p in operation.get("parameters", [])]
            inside = sorted(p["name"] for p in listed if p["in"] == "path")
            if inside != sorted(re.findall(r"\{(\w+)\}", path)):
                self.fault(f"{name}: parameters {inside} of {path}")

    # --- exchanges ---

    def body(self, where, node, value):
        schema = node.get("content", {}).get("application/json") or node.get("content", {}).get(
            "application/problem+json")
        if schema is None:
            if value is not None:
                self.fault(f"{where}: a body that is not described")
            return
        for e in jsonschema.Draft202012Validator(schema["schema"], resolver=self.resolver,
                                                 format_checker=formats).iter_errors(value):
            self.fault(f"{where}: {'/'.join(map(str, e.path))}: {e.message[:300]}")

    def exchange(self, seen):
        name, status = seen["operation"], str(seen["status"])
        where = f"{name} {status}"
        if name not in self.operations:
            self.fault(f"{name} is not described")
            return
        operation = self.operations[name][1]
        if status not in operation["responses"]:
            self.fault(f"{where} is not described")
            return
        self.body(where, self.resolve(operation["responses"][status]), seen["response"])
        if seen["request"] is not None and status[0] == "2":
            self.body(where + ", request", operation.get("requestBody", {}), seen["request"])

    def exchanges(self, all_seen):
        done = set()
        for seen in all_seen:
            self.exchange(seen)
            done.add((seen["operation"], str(seen["status"])))
        for name, (_, operation) in self.operations.items():
            for status in operation["responses"]:
                if status[0] == "2" and (name, status) not in done:
                    self.fault(f"{name} {status} was not seen")


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        checker = Checker(json.load(f))
    checker.structure()
    checker.references()
    checker.parameters()
    with open(sys.argv[2], encoding="utf-8") as f:
        checker.exchanges(json.load(f))
    for text in checker.faults:
        print(text)
    return 1 if checker.faults else 0


if __name__ == "__main__":
    sys.exit(main())
