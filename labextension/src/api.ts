// What the server is asked, and what it tells by itself. Paths go in once, and come back as an id.

import { URLExt } from "@jupyterlab/coreutils";
import type { Event } from "@jupyterlab/services";
import { ServerConnection } from "@jupyterlab/services";
import type { Graph, Preview, Statuses, StepStatus } from "./graph/types";

const PREFIX = "jupyter-pipelines/api";
const UNKNOWN_NOTEBOOK = "JP801";
export const RUN_EVENTS = "urn:jupyter-pipelines:event:run";

export interface Fault {
  code: string;
  severity: "error" | "warning";
  message: string;
  step?: string | null;
  cell?: number | null;
  line?: number | null;
  column?: number | null;
  suggestion?: string;
  notes?: string[];
}

export interface CellText {
  id: string;
  type: "code" | "markdown" | "raw";
  source: string;
  tags?: string[];
}

export interface CellAbout {
  step: string | null;
  kind: string;
  inferred: { in: string[]; out: string[]; params: string[] } | null;
}

export interface Looked {
  graph: Graph | null;
  statuses: Statuses | null;
  faults: Fault[];
  cells: Record<string, CellAbout>;
  last: string | null;
  active: string[];
}

export interface RunSummary {
  run: string;
  state: string;
  started?: string | null;
  seconds?: number | null;
  headline?: string;
  parameters?: Record<string, unknown>;
  steps?: Record<string, number>;
}

export interface Bar {
  step: string;
  state: string;
  from: number | null;
  to: number | null;
  attempt: number;
}

export interface RunDocument {
  run: string;
  state: string;
  seconds?: number | null;
  started?: string;
  statuses: Statuses;
  timeline: Bar[];
  graph: Graph | null;
}

export interface RunTold {
  notebook: string;
  path: string;
  run: string;
  state: string;
  statuses: Record<string, StepStatus>;
  headline: string;
  finished: number;
  total: number;
}

export interface Order {
  parameters?: Record<string, string>;
  to?: string[];
  from?: string[];
  only?: string[];
  force?: boolean | string[];
}

export interface Match {
  text: string;
  kind: string;
  help: string;
}

// An answer that says no, with every fault.
export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly faults: Fault[],
  ) {
    super(message);
  }
}

type Query = Record<string, string | number | undefined>;

export class Api {
  private readonly ids = new Map<string, Promise<string>>();

  constructor(private readonly settings: ServerConnection.ISettings) {}

  async ask<T>(method: string, route: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
    const url = URLExt.join(this.settings.baseUrl, PREFIX, route);
    const init: RequestInit = { method, headers: { "Content-Type": "application/json", ...headers } };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
    }
    const response = await ServerConnection.makeRequest(url, init, this.settings);
    const text = await response.text();
    const answer: unknown = text ? parsed(text) : {};
    if (!response.ok) {
      const said = answer as { message?: string; faults?: Fault[] };
      throw new Refusal(said.message || said.faults?.[0]?.message || `${response.status} ${response.statusText}`, response.status, said.faults ?? []);
    }
    return answer as T;
  }

  private idOf(path: string): Promise<string> {
    let id = this.ids.get(path);
    if (!id) {
      id = this.ask<{ id: string }>("POST", "notebooks", { path }).then((answer) => answer.id);
      id.catch(() => this.ids.delete(path));
      this.ids.set(path, id);
    }
    return id;
  }

  // Asks about a notebook; a server that has started anew is told of it again.
  async of<T>(path: string, method: string, route: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
    try {
      return await this.ask<T>(method, URLExt.join("notebooks", await this.idOf(path), route), body, headers);
    } catch (error) {
      if (!(error instanceof Refusal) || error.faults[0]?.code !== UNKNOWN_NOTEBOOK || !this.ids.delete(path)) {
        throw error;
      }
      return this.ask<T>(method, URLExt.join("notebooks", await this.idOf(path), route), body, headers);
    }
  }

  look(path: string, cells: CellText[] | null, parameters: Record<string, string>): Promise<Looked> {
    return this.of(path, "POST", "graph", { cells, parameters });
  }

  start(path: string, cells: CellText[] | null, order: Order, more: { jobs?: number; keep_going?: boolean } = {}): Promise<{ run: string }> {
    const key = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
    return this.of(path, "POST", "runs", { cells, ...order, ...more }, { "Idempotency-Key": key });
  }

  cancel(path: string, run: string, step: string | null = null): Promise<{ state: string }> {
    return this.of(path, "POST", `runs/${encodeURIComponent(run)}/cancel`, { step, now: false });
  }

  async runs(path: string): Promise<RunSummary[]> {
    return (await this.of<{ runs: RunSummary[] }>(path, "GET", "runs")).runs;
  }

  run(path: string, run: string): Promise<RunDocument> {
    return this.of(path, "GET", `runs/${encodeURIComponent(run)}`);
  }

  async log(path: string, run: string, step: string): Promise<string> {
    const route = `runs/${encodeURIComponent(run)}/steps/${encodeURIComponent(step)}/log${query({ tail: 20000 })}`;
    return (await this.of<{ text: string }>(path, "GET", route)).text;
  }

  executed(path: string, run: string, step: string): Promise<{ path: string | null; notebook: unknown }> {
    return this.of(path, "GET", `runs/${encodeURIComponent(run)}/steps/${encodeURIComponent(step)}/notebook`);
  }

  diff(path: string, first: string, second: string): Promise<{ text: string }> {
    return this.of(path, "GET", `runs/${encodeURIComponent(first)}/diff/${encodeURIComponent(second)}`);
  }

  preview(path: string, step: string, output: string): Promise<Preview> {
    return this.of(path, "GET", `outputs/${encodeURIComponent(step)}/${encodeURIComponent(output)}`);
  }

  edit<T>(path: string, what: string, body: Record<string, unknown>): Promise<T> {
    return this.of(path, "POST", what, body);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text, bare);
  } catch {
    return { message: text.slice(0, 300) };
  }
}

function query(values: Query): string {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return given.length ? `?${given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&")}` : "";
}

// Calls back for everything that happens to runs; the server's own event stream carries it.
export function followRuns(events: Event.IManager, told: (event: RunTold) => void): void {
  events.stream.connect((_, emission) => {
    if (String(emission.schema_id).startsWith(RUN_EVENTS)) {
      told(emission as unknown as RunTold);
    }
  });
}

// Names of steps are keys in what the server answers, and "constructor" is a name as good as any.
function bare(_: string, value: unknown): unknown {
  return value && typeof value === "object" && !Array.isArray(value) ? Object.assign(Object.create(null), value) : value;
}
