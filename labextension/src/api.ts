// Client of the server's REST API and of its run events. The server gives each notebook path an id, which is cached here.

import { URLExt } from "@jupyterlab/coreutils";
import type { Event } from "@jupyterlab/services";
import { ServerConnection } from "@jupyterlab/services";
import type { GraphDocument, OutputPreview, StatusDocument, StepStatus } from "./graph/documents";

const PREFIX = "jupyter-pipelines/api";
const UNKNOWN_NOTEBOOK = "JP801";
export const RUN_EVENTS = "urn:jupyter-pipelines:event:run";

export interface PipelineDiagnostic {
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

export interface CellRole {
  step: string | null;
  kind: string;
  inferred: { in: string[]; out: string[]; params: string[] } | null;
}

export interface GraphResponse {
  graph: GraphDocument | null;
  statuses: StatusDocument | null;
  faults: PipelineDiagnostic[];
  cells: Record<string, CellRole>;
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

export interface TimelineBar {
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
  statuses: StatusDocument;
  timeline: TimelineBar[];
  graph: GraphDocument | null;
}

export interface RunEvent {
  notebook: string;
  path: string;
  run: string;
  state: string;
  statuses: Record<string, StepStatus>;
  headline: string;
  finished: number;
  total: number;
}

export interface RunRequest {
  parameters?: Record<string, string>;
  to?: string[];
  from?: string[];
  only?: string[];
  force?: boolean | string[];
}

export interface CompletionItem {
  text: string;
  kind: string;
  help: string;
}

// An error response of the server, with its diagnostics.
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly faults: PipelineDiagnostic[],
  ) {
    super(message);
  }
}

type QueryParameters = Record<string, string | number | undefined>;

export class ApiClient {
  private readonly ids = new Map<string, Promise<string>>();

  constructor(private readonly settings: ServerConnection.ISettings) {}

  async request<T>(method: string, route: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
    const url = URLExt.join(this.settings.baseUrl, PREFIX, route);
    const init: RequestInit = { method, headers: { "Content-Type": "application/json", ...headers } };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
    }
    const response = await ServerConnection.makeRequest(url, init, this.settings);
    const text = await response.text();
    const answer: unknown = text ? parseJson(text) : {};
    if (!response.ok) {
      const errorBody = answer as { message?: string; faults?: PipelineDiagnostic[] };
      throw new ApiError(errorBody.message || errorBody.faults?.[0]?.message || `${response.status} ${response.statusText}`, response.status, errorBody.faults ?? []);
    }
    return answer as T;
  }

  private notebookId(path: string): Promise<string> {
    let id = this.ids.get(path);
    if (!id) {
      id = this.request<{ id: string }>("POST", "notebooks", { path }).then((answer) => answer.id);
      id.catch(() => this.ids.delete(path));
      this.ids.set(path, id);
    }
    return id;
  }

  // Sends a request about a notebook; registers the notebook again if the server has restarted meanwhile.
  async notebookRequest<T>(path: string, method: string, route: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
    try {
      return await this.request<T>(method, URLExt.join("notebooks", await this.notebookId(path), route), body, headers);
    } catch (error) {
      if (!(error instanceof ApiError) || error.faults[0]?.code !== UNKNOWN_NOTEBOOK || !this.ids.delete(path)) {
        throw error;
      }
      return this.request<T>(method, URLExt.join("notebooks", await this.notebookId(path), route), body, headers);
    }
  }

  readGraph(path: string, cells: CellText[] | null, parameters: Record<string, string>): Promise<GraphResponse> {
    return this.notebookRequest(path, "POST", "graph", { cells, parameters });
  }

  start(path: string, cells: CellText[] | null, order: RunRequest, more: { jobs?: number; keep_going?: boolean } = {}): Promise<{ run: string }> {
    const key = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
    return this.notebookRequest(path, "POST", "runs", { cells, ...order, ...more }, { "Idempotency-Key": key });
  }

  cancel(path: string, run: string, step: string | null = null): Promise<{ state: string }> {
    return this.notebookRequest(path, "POST", `runs/${encodeURIComponent(run)}/cancel`, { step, now: false });
  }

  async runs(path: string): Promise<RunSummary[]> {
    return (await this.notebookRequest<{ runs: RunSummary[] }>(path, "GET", "runs")).runs;
  }

  run(path: string, run: string): Promise<RunDocument> {
    return this.notebookRequest(path, "GET", `runs/${encodeURIComponent(run)}`);
  }

  async log(path: string, run: string, step: string): Promise<string> {
    const route = `runs/${encodeURIComponent(run)}/steps/${encodeURIComponent(step)}/log${queryString({ tail: 20000 })}`;
    return (await this.notebookRequest<{ text: string }>(path, "GET", route)).text;
  }

  executed(path: string, run: string, step: string): Promise<{ path: string | null; notebook: unknown }> {
    return this.notebookRequest(path, "GET", `runs/${encodeURIComponent(run)}/steps/${encodeURIComponent(step)}/notebook`);
  }

  diff(path: string, first: string, second: string): Promise<{ text: string }> {
    return this.notebookRequest(path, "GET", `runs/${encodeURIComponent(first)}/diff/${encodeURIComponent(second)}`);
  }

  preview(path: string, step: string, output: string): Promise<OutputPreview> {
    return this.notebookRequest(path, "GET", `outputs/${encodeURIComponent(step)}/${encodeURIComponent(output)}`);
  }

  async dependencies(path: string, step: string): Promise<string[]> {
    return (await this.notebookRequest<{ lines: string[] }>(path, "GET", `steps/${encodeURIComponent(step)}/dependencies`)).lines;
  }

  post<T>(path: string, route: string, body: Record<string, unknown>): Promise<T> {
    return this.notebookRequest(path, "POST", route, body);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text, withoutPrototype);
  } catch {
    return { message: text.slice(0, 300) };
  }
}

function queryString(values: QueryParameters): string {
  const present = Object.entries(values).filter(([, value]) => value !== undefined);
  return present.length ? `?${present.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&")}` : "";
}

// Calls the listener for each run event of the server's event stream.
export function followRuns(events: Event.IManager, listener: (event: RunEvent) => void): void {
  events.stream.connect((_, emission) => {
    if (String(emission.schema_id).startsWith(RUN_EVENTS)) {
      listener(emission as unknown as RunEvent);
    }
  });
}

// Parses objects without a prototype: step names are keys in responses, and a step may be named "constructor".
function withoutPrototype(_: string, value: unknown): unknown {
  return value && typeof value === "object" && !Array.isArray(value) ? Object.assign(Object.create(null), value) : value;
}
