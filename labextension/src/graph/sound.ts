// Saved graphs come from notebooks of others: of any shape, and only what has the shape of a graph is drawn.

import type { Drawing, Graph, GraphEdge, GraphNode, Interface, Look, Rail, Statuses, StepStatus } from "./types";

const MOST_NODES = 20_000;
const FARTHEST = 1e6;
const KINDS = new Set(["step", "file", "group"]);
const TEXTS = ["state", "detail", "since", "text", "decision", "notebook", "key"] as const;
const NUMBERS = ["seconds", "saved", "attempt", "cell", "cells"] as const;

type Fields = Record<string, unknown>;

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function listOf<T>(value: unknown, make: (one: Fields) => T | null): T[] {
  return (Array.isArray(value) ? value : []).flatMap((one) => make(fieldsOf(one)) ?? []);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function textsOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : []).filter((one): one is string => typeof one === "string");
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Math.abs(value) <= FARTHEST;
}

function numberOf(value: unknown): number {
  return isNumber(value) ? value : 0;
}

function numbersOf(value: unknown): number[] {
  return (Array.isArray(value) ? value : []).filter(isNumber);
}

// Names are of others, too: "constructor" is one, and must not find what every object has.
function tableOf<T>(value: unknown, make: (one: Fields) => T): Record<string, T> {
  const made = Object.create(null) as Record<string, T>;
  for (const [name, one] of Object.entries(fieldsOf(value))) {
    made[name] = make(fieldsOf(one));
  }
  return made;
}

function interfaceOf(one: Fields): Interface | null {
  const made = { name: textOf(one.name), from: textOf(one.from) || undefined, format: textOf(one.format) || undefined, optional: one.optional === true };
  return made.name ? ({ ...made, kind: textOf(one.kind) || undefined } as Interface) : null;
}

function nodeOf(one: Fields): GraphNode | null {
  const id = textOf(one.id);
  if (!id || ![one.x, one.y, one.width, one.height].every(isNumber)) {
    return null;
  }
  return {
    id,
    kind: (KINDS.has(textOf(one.kind)) ? one.kind : "step") as GraphNode["kind"],
    name: textOf(one.name) || id,
    x: numberOf(one.x),
    y: numberOf(one.y),
    width: Math.max(0, numberOf(one.width)),
    height: Math.max(0, numberOf(one.height)),
    count: numberOf(one.count),
    cells: listOf(one.cells, (cell) => ({ id: textOf(cell.id) || null, number: numberOf(cell.number) })),
    inputs: listOf(one.inputs, interfaceOf),
    outputs: listOf(one.outputs, interfaceOf),
    parameters: textsOf(one.parameters),
    resources: fieldsOf(one.resources),
    order: isNumber(one.order) ? one.order : undefined,
  };
}

function edgeOf(one: Fields): GraphEdge | null {
  const label = numbersOf(one.label);
  const made = { from: textOf(one.from), to: textOf(one.to) || null, names: textsOf(one.names), path: textOf(one.path) };
  return made.from && made.path ? { ...made, label: label.length === 2 ? [label[0], label[1]] : null } : null;
}

function drawingOf(value: unknown): Drawing {
  const given = fieldsOf(value);
  const nodes = listOf(given.nodes, nodeOf);
  const right = Math.max(0, ...nodes.slice(0, MOST_NODES).map((one) => one.x + one.width));
  const bottom = Math.max(0, ...nodes.slice(0, MOST_NODES).map((one) => one.y + one.height));
  return { width: numberOf(given.width) || right, height: numberOf(given.height) || bottom, nodes, edges: listOf(given.edges, edgeOf) };
}

function railOf(one: Fields): Rail | null {
  const { id, lane, through, from, ends, to } = one;
  return textOf(id) ? { id: textOf(id), lane: numberOf(lane), through: numbersOf(through), from: numbersOf(from), ends: numbersOf(ends), to: numbersOf(to) } : null;
}

function lookOf(one: Fields): Look {
  const pair = (value: unknown): [string, string] => [textsOf(value)[0] ?? "", textsOf(value)[1] ?? ""];
  return { word: textOf(one.word), icon: textOf(one.icon), light: pair(one.light), dark: pair(one.dark) };
}

// The graph as far as it is one; why not, where there is nothing to draw.
export function soundGraph(value: unknown): Graph | string {
  const given = fieldsOf(value);
  const drawing = drawingOf(given);
  if (!drawing.nodes.length) {
    return "This output holds no graph that can be drawn. Run the cell again to make a new one.";
  }
  if (drawing.nodes.length > MOST_NODES) {
    return `This output holds a graph of ${drawing.nodes.length} steps, which is too large to be drawn here.`;
  }
  const overview = drawingOf(given.overview);
  const rails = listOf(given.rails, railOf);
  const steps = drawing.nodes.filter((one) => one.kind === "step");
  return {
    ...drawing,
    schema: textOf(given.schema),
    title: textOf(given.title),
    rails: rails.length ? rails : steps.map(({ id }) => ({ id, lane: 0, through: [], from: [], ends: [], to: [] })),
    groups: listOf(given.groups, (one) => ({ id: textOf(one.id), name: textOf(one.name), steps: textsOf(one.steps) })),
    overview: overview.nodes.length ? overview : null,
    parameters: [],
    looks: tableOf(given.looks, lookOf),
  };
}

function statusOf(one: Fields): StepStatus {
  const made: Fields = {};
  for (const name of TEXTS) {
    made[name] = textOf(one[name]) || undefined;
  }
  for (const name of NUMBERS) {
    made[name] = isNumber(one[name]) ? one[name] : undefined;
  }
  const { origin, error } = { origin: fieldsOf(one.origin), error: fieldsOf(one.error) };
  return {
    ...made,
    state: textOf(one.state),
    notes: textsOf(one.notes),
    reason: reasonOf(one.reason),
    next: reasonOf(one.next),
    origin: textOf(origin.run) ? { run: textOf(origin.run), created: textOf(origin.created) } : undefined,
    error: textOf(error.message) ? { code: textOf(error.code) || undefined, message: textOf(error.message), cell: numberOf(error.cell) || null, line: numberOf(error.line) || null } : undefined,
  };
}

function reasonOf(value: unknown): StepStatus["reason"] {
  const { code, text, details } = fieldsOf(value);
  return textOf(text) ? { code: textOf(code), text: textOf(text), details: textsOf(details) } : undefined;
}

export function soundStatuses(value: unknown): Statuses {
  const given = fieldsOf(value);
  return { steps: tableOf(given.steps, statusOf), run: textOf(given.run) || null, headline: textOf(given.headline), critical: textsOf(given.critical) };
}
