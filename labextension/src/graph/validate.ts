// Validates saved graphs. They come from untrusted notebooks and may have any shape: only fields of the right type are kept.

import type { GraphLayout, GraphDocument, GraphEdge, GraphNode, StepPort, StateStyle, GraphRail, StatusDocument, StepStatus } from "./documents";

const MAX_NODES = 20_000;
const MAX_COORDINATE = 1e6;
const KINDS = new Set(["step", "file", "group"]);
const TEXTS = ["state", "detail", "since", "text", "decision", "notebook", "key"] as const;
const NUMBERS = ["seconds", "saved", "attempt", "cell", "cells"] as const;

type JsonFields = Record<string, unknown>;

function fieldsOf(value: unknown): JsonFields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonFields) : {};
}

function listOf<T>(value: unknown, make: (fields: JsonFields) => T | null): T[] {
  return (Array.isArray(value) ? value : []).flatMap((element) => make(fieldsOf(element)) ?? []);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function textsOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : []).filter((element): element is string => typeof element === "string");
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Math.abs(value) <= MAX_COORDINATE;
}

function numberOf(value: unknown): number {
  return isNumber(value) ? value : 0;
}

function numbersOf(value: unknown): number[] {
  return (Array.isArray(value) ? value : []).filter(isNumber);
}

// Keys come from untrusted notebooks, too: a step named "constructor" must not resolve to a property that every object inherits.
function recordOf<T>(value: unknown, make: (fields: JsonFields) => T): Record<string, T> {
  const record = Object.create(null) as Record<string, T>;
  for (const [name, member] of Object.entries(fieldsOf(value))) {
    record[name] = make(fieldsOf(member));
  }
  return record;
}

function portOf(fields: JsonFields): StepPort | null {
  const port = { name: textOf(fields.name), from: textOf(fields.from) || undefined, format: textOf(fields.format) || undefined, optional: fields.optional === true };
  return port.name ? ({ ...port, kind: textOf(fields.kind) || undefined } as StepPort) : null;
}

function nodeOf(fields: JsonFields): GraphNode | null {
  const id = textOf(fields.id);
  if (!id || ![fields.x, fields.y, fields.width, fields.height].every(isNumber)) {
    return null;
  }
  return {
    id,
    kind: (KINDS.has(textOf(fields.kind)) ? fields.kind : "step") as GraphNode["kind"],
    name: textOf(fields.name) || id,
    x: numberOf(fields.x),
    y: numberOf(fields.y),
    width: Math.max(0, numberOf(fields.width)),
    height: Math.max(0, numberOf(fields.height)),
    count: numberOf(fields.count),
    cells: listOf(fields.cells, (cell) => ({ id: textOf(cell.id) || null, number: numberOf(cell.number) })),
    inputs: listOf(fields.inputs, portOf),
    outputs: listOf(fields.outputs, portOf),
    parameters: textsOf(fields.parameters),
    resources: fieldsOf(fields.resources),
    order: isNumber(fields.order) ? fields.order : undefined,
  };
}

function edgeOf(fields: JsonFields): GraphEdge | null {
  const label = numbersOf(fields.label);
  const edge = { from: textOf(fields.from), to: textOf(fields.to) || null, names: textsOf(fields.names), path: textOf(fields.path) };
  return edge.from && edge.path ? { ...edge, label: label.length === 2 ? [label[0], label[1]] : null } : null;
}

function layoutOf(value: unknown): GraphLayout {
  const fields = fieldsOf(value);
  const nodes = listOf(fields.nodes, nodeOf);
  const right = Math.max(0, ...nodes.slice(0, MAX_NODES).map((node) => node.x + node.width));
  const bottom = Math.max(0, ...nodes.slice(0, MAX_NODES).map((node) => node.y + node.height));
  return { width: numberOf(fields.width) || right, height: numberOf(fields.height) || bottom, nodes, edges: listOf(fields.edges, edgeOf) };
}

function railOf(fields: JsonFields): GraphRail | null {
  const { id, lane, through, from, ends, to } = fields;
  return textOf(id) ? { id: textOf(id), lane: numberOf(lane), through: numbersOf(through), from: numbersOf(from), ends: numbersOf(ends), to: numbersOf(to) } : null;
}

function stateStyleOf(fields: JsonFields): StateStyle {
  const pair = (value: unknown): [string, string] => [textsOf(value)[0] ?? "", textsOf(value)[1] ?? ""];
  return { word: textOf(fields.word), icon: textOf(fields.icon), light: pair(fields.light), dark: pair(fields.dark) };
}

// Returns the valid part of a graph document, or a message that says why nothing can be drawn.
export function validateGraph(value: unknown): GraphDocument | string {
  const fields = fieldsOf(value);
  const drawing = layoutOf(fields);
  if (!drawing.nodes.length) {
    return "This output holds no graph that can be drawn. Run the cell again to make a new one.";
  }
  if (drawing.nodes.length > MAX_NODES) {
    return `This output holds a graph of ${drawing.nodes.length} steps, which is too large to be drawn here.`;
  }
  const overview = layoutOf(fields.overview);
  const rails = listOf(fields.rails, railOf);
  const steps = drawing.nodes.filter((node) => node.kind === "step");
  return {
    ...drawing,
    schema: textOf(fields.schema),
    title: textOf(fields.title),
    rails: rails.length ? rails : steps.map(({ id }) => ({ id, lane: 0, through: [], from: [], ends: [], to: [] })),
    groups: listOf(fields.groups, (group) => ({ id: textOf(group.id), name: textOf(group.name), steps: textsOf(group.steps) })),
    overview: overview.nodes.length ? overview : null,
    parameters: [],
    looks: recordOf(fields.looks, stateStyleOf),
  };
}

function statusOf(fields: JsonFields): StepStatus {
  const status: JsonFields = {};
  for (const name of TEXTS) {
    status[name] = textOf(fields[name]) || undefined;
  }
  for (const name of NUMBERS) {
    status[name] = isNumber(fields[name]) ? fields[name] : undefined;
  }
  const { origin, error } = { origin: fieldsOf(fields.origin), error: fieldsOf(fields.error) };
  return {
    ...status,
    state: textOf(fields.state),
    notes: textsOf(fields.notes),
    reason: reasonOf(fields.reason),
    next: reasonOf(fields.next),
    origin: textOf(origin.run) ? { run: textOf(origin.run), created: textOf(origin.created) } : undefined,
    error: textOf(error.message) ? { code: textOf(error.code) || undefined, message: textOf(error.message), cell: numberOf(error.cell) || null, line: numberOf(error.line) || null } : undefined,
  };
}

function reasonOf(value: unknown): StepStatus["reason"] {
  const { code, text, details } = fieldsOf(value);
  return textOf(text) ? { code: textOf(code), text: textOf(text), details: textsOf(details) } : undefined;
}

export function validateStatuses(value: unknown): StatusDocument {
  const fields = fieldsOf(value);
  return { steps: recordOf(fields.steps, statusOf), run: textOf(fields.run) || null, headline: textOf(fields.headline), critical: textsOf(fields.critical) };
}
